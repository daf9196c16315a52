"""Opinion studies, taken part in."""
