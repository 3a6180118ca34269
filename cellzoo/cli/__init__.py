"""The ``cellzoo`` command: parse, call one function, print. Each module here adds its verbs."""

from cellzoo.cli import counting, files, recipes, training
from cellzoo.cli.group import main

__all__ = ["counting", "files", "main", "recipes", "training"]
