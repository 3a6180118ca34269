"""The page on which a person labels images: a server for this computer alone, and its files."""
