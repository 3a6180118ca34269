"""Chambers in fields of view: found by their walls, followed through a series, cut out."""
