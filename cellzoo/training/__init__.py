"""cellzoo.training."""
