"""Synthetic cells: how they are drawn, and how they come to look like natural ones."""
