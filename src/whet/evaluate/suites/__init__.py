"""What is scored: pictures and clips, the same on every run."""
