"""Puts a trained run into the package, where ``zoo:NAME`` finds it.

    cellzoo fit dcc_small_bbbc005 --out runs/bbbc005 \
        --set "card={licence: as stated at BBBC005, modality: simulated fluorescence}"
    cellzoo evaluate runs/bbbc005
    python benchmarks/zoo.py runs/bbbc005 bbbc005

Copies what counting needs and the model card. Each call makes the next version and takes the one
before it away: the repository's history keeps it.
"""

import argparse
import shutil
from pathlib import Path

from cellzoo import zoo
from cellzoo.runs import Run

KEPT = (
    "recipe.yaml",
    "README.md",
    "checkpoints/best.weights.h5",
    "report/validation.json",
    "report/out_of_distribution.json",
)
# Of the images that it has seen, for those who begin with its weights; earlier runs had none.
FINGERPRINTS = "fingerprints.npz"


def main() -> None:
    """Parses and copies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    run, folder = Run(arguments.run), zoo.FOLDER / arguments.name
    if not run.recipe.card or not run.recipe.card.licence:
        raise SystemExit(f"{run.recipe_file} has no card.licence: say what the images allow.")
    versions = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    new = folder / str(max(versions, default=0) + 1)
    seen = [FINGERPRINTS] if (run.path / FINGERPRINTS).is_file() else []
    for name in [*KEPT, *seen]:
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(run.path / name, new / name)
    for version in versions:
        shutil.rmtree(folder / str(version))
    print(f"wrote {new}")


if __name__ == "__main__":
    main()
