"""cellzoo.evaluation."""
