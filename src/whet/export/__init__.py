"""What ``whet export`` does: a checkpoint becomes a model file."""
