"""Where natural images come from, a file each."""
