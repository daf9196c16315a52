"""What ``whet image`` does: files, folders, pipes, and pictures in memory."""
