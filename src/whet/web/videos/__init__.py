"""Videos sent to be restored."""
