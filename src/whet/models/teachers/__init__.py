"""Large networks that know how to restore."""
