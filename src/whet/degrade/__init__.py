"""Sharp in, degraded out."""
