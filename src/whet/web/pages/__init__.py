"""Pages put together, and served."""
