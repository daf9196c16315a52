"""What ``whet video`` does: a file to a file, everything else in it kept."""
