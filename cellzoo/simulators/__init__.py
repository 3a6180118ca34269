"""Simulated microscopes."""
