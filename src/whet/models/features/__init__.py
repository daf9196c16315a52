"""Networks that see like people: for losses and metrics."""
