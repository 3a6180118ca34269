"""Counting while a microscope writes: the watch, its alerts and its page."""
