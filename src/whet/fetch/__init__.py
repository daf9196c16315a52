"""Public weights and packages, from their publishers into the cache."""
