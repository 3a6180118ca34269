"""cellzoo: count the cells in microscope images."""

__version__ = "0.1.0"
