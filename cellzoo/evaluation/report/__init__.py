"""Reports of evaluations and comparisons, and their figures."""
