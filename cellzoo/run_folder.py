"""Where a run folder keeps what others look for in it: without Keras."""

from pathlib import Path


def recipe_file(run: Path) -> Path:
    """The effective recipe of a run folder, or of ``zoo:NAME``."""
    return run / "recipe.yaml"


def weights_file(run: Path, selection: str = "best") -> Path:
    """Weights of the checkpoint chosen as ``"best"``, ``"max_acc"`` or ``"min_dev"``."""
    return run / "checkpoints" / f"{selection}.weights.h5"
