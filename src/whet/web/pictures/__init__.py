"""Pictures sent to be restored."""
