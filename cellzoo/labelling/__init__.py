"""Labels: importing those of other programs."""
