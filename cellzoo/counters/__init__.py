"""Counters: from pixels to counts."""
