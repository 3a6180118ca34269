"""Puts a trained run into the package, where ``zoo:NAME`` finds it.

    cellzoo fit recipes/twinvae_ldc.yaml --budget 30m --out runs/zoo/ldc
    cellzoo evaluate runs/zoo/ldc
    python benchmarks/zoo.py runs/zoo/ldc ldc --licence "MIT, (c) 2021 Okerulu Chukwudi" \
        --title "Suspension cells in a counting chamber, bright field"

Copies what counting needs and writes the model card. Each call makes the next version and takes the
one before it away: the history keeps it.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from cellzoo import zoo
from cellzoo.training.runs import Run

CARD = """\
# {title}

`cellzoo count IMAGES --model zoo:{name}` counts with it, `--set train.start_from=zoo:{name}` begins a training with its weights.

Network    {model}, {kilobytes} kB
Data       {data}
Licence    of the images: {licence}
Score      {score}
Takes      grey images of cells that look like those, resized to {width} x {height} px; {low} to {high} cells
           in each training image; beyond that nothing was tried
Interval   95 % of counts like those of the {validation} labelled validation images
Made by    `{command}`, commit {commit}, seed {seed}
"""  # noqa: E501


def main() -> None:
    """Parses and copies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--title", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--licence", required=True)
    arguments = parser.parse_args()
    run, folder = Run(arguments.run), zoo.FOLDER / arguments.name
    versions = [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    new = folder / str(max(versions, default=0) + 1)
    for part in ("checkpoints", "report"):
        (new / part).mkdir(parents=True)
    for file in (run.recipe_file, run.best_weights, run.validation_file):
        shutil.copy(file, new / file.relative_to(run.path))
    (new / "README.md").write_text(card(arguments, run), encoding="utf-8")
    for version in versions:
        shutil.rmtree(folder / str(version))
    print(f"wrote {new}")


def card(arguments: argparse.Namespace, run: Run) -> str:
    """The model card, from what the run folder says of itself."""
    recipe = run.recipe
    (report,) = run.path.glob("report/evaluation_*.json")
    result = json.loads(report.read_text(encoding="utf-8"))
    environment = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    size = recipe.image_size
    height, width = (size, size) if isinstance(size, int) else size
    scores, (low, high) = result["scores"], result["intervals"]["mae"]
    validation = run.validation_scores()
    return CARD.format(
        title=arguments.title,
        name=arguments.name,
        model=recipe.model.name,
        kilobytes=run.best_weights.stat().st_size // 1000,
        data=arguments.data,
        licence=arguments.licence,
        score=(
            f"MAE {scores['mae']:.2f} ({low:.2f} to {high:.2f}), exact "
            f"{100 * scores['exact']:.0f} % of {result['images']} images: {result['subject']}"
        ),
        height=height,
        width=width,
        low=validation["training_counts"][0],
        high=validation["training_counts"][1],
        validation=validation["images"],
        command="cellzoo " + " ".join(environment["command"][1:]),
        commit=subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        seed=recipe.seed,
    )


if __name__ == "__main__":
    main()
