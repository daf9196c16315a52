"""Where pixels for training and evaluation come from."""
