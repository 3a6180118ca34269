"""What a change to a recipe does at the same training time, on the validation split.

    python benchmarks/study.py ldc --minutes 2
    python benchmarks/study.py ldc --minutes 2 --name larger-batch --set train.batch=96

Trains `recipes/twindensity_DATA.yaml` once for every change and seed, one after the other, adds
the rows to the CSV and prints it as a Markdown table. Images come from `data/`, a
link to them will do; bright field and phase contrast are simulated, with more validation images
than the recipe has, so that small differences show. A run folder of the same commit that is there
already is not trained again.
"""

import argparse
from pathlib import Path

from table import add_rows, print_markdown, read_rows
from training import add_options, budget, options, train, validation_columns

KEY = ("data", "change", "seed", "minutes_asked", "commit")
MORE_VALIDATION = ["data.natural.validation=516", "data.natural.validation_labelled=516"]
DATA = {"bf": MORE_VALIDATION, "pc": MORE_VALIDATION, "ldc": [], "cho": []}
# One at a time: what the recipes have is taken away, or what did not help is put in.
CHANGES: dict[str, list[str]] = {
    "as-it-is": [],
    "natural-only": ["data.synthetic=null"],
    "no-density": ["loss.density_weight=0"],
    "two-readers": ["model.shared_reader=false"],
    "one-view": ["count.test_time_augmentation=1"],
    "decoders": ["model={name: twinvae_spatial, shared_reader: true}"],
    "poisson-density": ["loss.density_loss=poisson"],
    "constant-rate": ["train.schedule=constant"],
    "no-ema": ["train.ema=null"],
    "labels-as-they-come": ["train.labelled_share=null"],
    "fresh-synthetic": ["data.synthetic.fresh=true"],
    "narrower": ["model.channels=[32,48]", "model.shared_channels=48"],
    "wider": ["model.channels=[64,96]", "model.shared_channels=96"],
    "contrast": ["augment.contrast=0.3"],
    "no-labels": ["data.natural.labelled=0"],
}


def main() -> None:
    """Parses, runs, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--name", help="of a change made of --set alone")
    add_options(parser, "study")
    arguments = parser.parse_args()
    changes = {name: CHANGES[name] for name in arguments.changes}
    if arguments.name:
        changes = {arguments.name: []}
    for seed in arguments.seeds:
        for change, settings in changes.items():
            row = run(arguments, change, [*settings, *arguments.settings], seed)
            add_rows(arguments.csv, [row], KEY)
    print_table(arguments.csv)


def run(
    arguments: argparse.Namespace, change: str, settings: list[str], seed: int
) -> dict[str, object]:
    """Trains one model; what it scored on the validation split."""
    settings = [*DATA[arguments.data], budget(arguments.minutes), f"seed={seed}", *settings]
    words = [f"recipes/twindensity_{arguments.data}.yaml", *options(settings)]
    name = f"{arguments.data}-{change}-{arguments.minutes:g}-{seed}"
    folder, origin = train(words, arguments.runs, name)
    return {
        "data": arguments.data,
        "change": change,
        "seed": seed,
        "minutes_asked": f"{arguments.minutes:g}",
        "epochs": read_rows(folder / "history.csv")[-1]["epoch"],
        **validation_columns(folder),
        **origin,
    }


def print_table(file: Path) -> None:
    """Prints the CSV as Markdown."""
    print_markdown(
        ["data", "change", "seed", "minutes", "MAE", "exact", "bias", "commit"],
        (
            [
                *(row[column] for column in ("data", "change", "seed", "minutes")),
                f"{float(row['mae']):.2f}",
                f"{100 * float(row['exact']):.0f} %",
                f"{float(row['bias_raw']):+.2f}",
                row["commit"],
            ]
            for row in read_rows(file)
        ),
    )


if __name__ == "__main__":
    main()
