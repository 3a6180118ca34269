"""cellzoo.data."""
