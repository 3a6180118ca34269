"""Checkpoints of other programs as run folders."""
