"""What belongs to a counter's answer: intervals, and whether an image is like those of training."""
