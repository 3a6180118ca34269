"""cellzoo.models."""
