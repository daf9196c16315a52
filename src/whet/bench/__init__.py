"""What ``whet bench`` does: how fast, how large, how much energy."""
