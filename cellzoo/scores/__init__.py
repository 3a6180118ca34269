"""Scores of counts and of masks, which know no model."""
