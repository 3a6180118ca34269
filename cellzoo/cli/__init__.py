"""The ``cellzoo`` command: parse, call one function, print. Each module here adds its verbs."""

from cellzoo.cli import counting, doctor, files, labelling, recipes, timelapse, training
from cellzoo.cli.group import main

__all__ = [
    "counting", "doctor", "files", "labelling", "main", "recipes", "timelapse", "training"
]  # fmt: skip
