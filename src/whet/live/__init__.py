"""What ``whet live`` does: a camera or stream, the newest frame, the model that keeps up."""
