"""A video file read: frames as they are, and everything beside them."""
