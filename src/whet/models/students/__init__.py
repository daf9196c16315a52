"""Small networks that learn."""
