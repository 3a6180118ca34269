"""Model cards: what a user of a trained model must know, as ``README.md`` of a run and an export.

A card consists of blocks between comments that carry a checksum of what stands between them. A
block that still has its checksum is cellzoo's and is kept up to date; one that somebody has edited,
and everything outside of blocks, is theirs and stays as it is.
"""

import hashlib
import json
import logging
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from cellzoo.data.image_set import SPLITS
from cellzoo.files import write_atomically
from cellzoo.recipe import Recipe
from cellzoo.runs import Run
from cellzoo.scores.table import COUNT_SCORES, INTERVAL_SCORES, headline_in_words, known_scores

log = logging.getLogger("cellzoo")

CARD_FILE = "README.md"
NOT_STATED = "not stated"
# What a report is about where there is no labelled test image.
VALIDATION_ALONE = "validation split (no test image has a count)"
_BLOCK = re.compile(
    r"<!-- cellzoo: (?P<name>[a-z]+) (?P<sum>[0-9a-f]{12}) -->\n(?P<text>.*?)"
    r"<!-- cellzoo: end of (?P=name) -->\n",
    re.DOTALL,
)


def write_model_card(run: Run) -> Path | None:
    """Writes ``README.md`` of a run, or brings the blocks up to date that nobody has edited.

    Returns:
        The file; None where it is somebody's own and stays as it is.
    """
    file = run.path / CARD_FILE
    existing = _read_card(file)
    card = merge_card(existing, run_blocks(run), title=run.recipe.name)
    if existing is not None and not _BLOCK.search(existing):
        log.info("%s is no model card of cellzoo's and stays as it is.", file)
        return None
    if card != existing:
        write_atomically(file, card)
    return file


def _read_card(file: Path) -> str | None:
    """The text of a card, also where an editor saved it as Latin-1; None: there is none."""
    if not file.is_file():
        return None
    content = file.read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def exported_card(run: Run, interface: str) -> str:
    """The card of an export: the run's own, with what somebody added, and how to call the model.

    Args:
        run: that is exported.
        interface: Markdown of the inputs and outputs, under a heading.
    """
    existing = _read_card(run.path / CARD_FILE)
    blocks = run_blocks(run) | {"interface": interface}
    return merge_card(existing, blocks, title=run.recipe.name, add=("interface",))


def merge_card(
    existing: str | None, blocks: dict[str, str], title: str, add: tuple[str, ...] = ()
) -> str:
    """A card with new blocks in the place of old ones.

    Args:
        existing: text of the card as it is; None: there is none.
        blocks: Markdown by name of the block.
        title: heading of a new card.
        add: blocks that are appended where the card has none of that name; others that somebody
            took out stay out.
    """
    if existing is None:
        return f"# {title}\n\n" + "\n".join(_block(name, text) for name, text in blocks.items())
    found = set()

    def renewed(match: re.Match) -> str:
        found.add(match["name"])
        edited = match["sum"] != _checksum(match["text"])
        if edited or match["name"] not in blocks:
            return match[0]
        return _block(match["name"], blocks[match["name"]])

    card = _BLOCK.sub(renewed, existing)
    for name in add:
        if name not in found:
            card = card.rstrip("\n") + "\n\n" + _block(name, blocks[name])
    return card


def _block(name: str, text: str) -> str:
    text = text.strip("\n") + "\n"
    return (
        f"<!-- cellzoo: {name} {_checksum(text)} -->\n{text}<!-- cellzoo: end of {name} -->\n"
    )


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_blocks(run: Run) -> dict[str, str]:
    """The blocks that every card of a run has, Markdown by name."""
    return {
        "summary": _summary(run),
        "use": _use(run),
        "scores": _scores(run),
        "data": _data(run),
        "reproduction": _reproduction(run),
    }


def _summary(run: Run) -> str:
    recipe = run.recipe
    unfinished = "" if run.finished else " (**training was not finished**)"
    simulated = (
        "\n\n**Its natural images are simulated**, not microscope images."
        if recipe.data.natural.simulated
        else ""
    )
    return (
        f"Counts cells in grey microscope images: model `{recipe.model.name}`, trained by cellzoo, "
        f"run `{run.version}`{unfinished}.{simulated}"
    )


def _use(run: Run) -> str:
    recipe, card = run.recipe, run.recipe.card
    size = recipe.image_size
    height, width = (size, size) if isinstance(size, int) else size
    lines = {
        "modality": recipe.modality,
        "pixel size": (
            f"{card.pixel_size_um:g} µm" if card and card.pixel_size_um else NOT_STATED
        ),
        "image size": f"{width} x {height} px as the network sees it",
        "counts": _range_of_counts(run),
    }
    if recipe.count.views > 1:
        views = {4: "its flips", 8: "its flips and turns"}[recipe.count.views]
        lines["counting"] = f"the mean of {recipe.count.views} counts, of the image and {views}"
    limits = "\n".join(f"- {name}: {text}" for name, text in lines.items())
    return f"""## Intended use and limits
Counting cells in images of the kind that it was trained on:

{limits}

Images of another kind are counted, too, and wrongly: look at the intervals, at `flag` where there
is one, and at some pictures. Intervals hold for images like those of the validation split; without
enough labels there (19), or before training is finished, none is promised. Not for diagnosis."""


def _range_of_counts(run: Run) -> str:
    counts = run.validation_scores().get("training_counts")
    if counts:
        return (
            f"{counts[0]} to {counts[1]} cells in the labelled training images; more is "
            "extrapolation"
        )
    if run.recipe.data.natural.keeps_all_labels_hidden:
        return "learned from synthetic images alone, no training image was labelled"
    return "the run does not know the range in its training images"


def licence(recipe: Recipe) -> str:
    """Of the training images, as far as the recipe says."""
    return recipe.card.licence if recipe.card and recipe.card.licence else NOT_STATED


def _scores(run: Run) -> str:
    files = sorted((run.path / "report").glob("**/evaluation_*.json"))
    parts = [part for file in files for part in _score_table(file)]
    if not parts:
        parts = ["No evaluation yet: `cellzoo evaluate` writes the scores here.", ""]
    validation = run.validation_scores()
    if scores := headline_in_words(validation):
        parts.append(
            f"On the {validation['images']} images of the validation split, which may have chosen "
            f"checkpoint and settings: {scores}."
        )
    return "## Scores\n" + "\n".join(parts)


def _score_table(file: Path) -> list[str]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if not report["scores"] or not report["subject"]:
            return []
    except (ValueError, KeyError, TypeError):  # somebody's own
        return []
    protocol = "" if report["protocol"] == "cellzoo" else f", protocol of the {report['protocol']}"
    lines = [f"{report['images']} images, {report['subject']}{protocol}:", ""]
    lines += ["| score | value | 95 % interval |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in score_rows(report)]
    return [*lines, ""]


def score_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and 95 % interval of each score, for people.

    Args:
        report: as ``evaluate`` writes it: ``scores``, ``intervals``, ``mean_prediction_mae`` and
            ``count_interval``.
    """
    rows = []
    for score, value in known_scores(report["scores"]):
        ends = score.interval(report["intervals"].get(score.key))
        rows.append((score.name, score.text(value), ends))
    calibrated = report.get("subject") == VALIDATION_ALONE
    for score, value in known_scores(report.get("count_interval") or {}, INTERVAL_SCORES):
        note = ", calibrated on these images" if calibrated else ""
        rows.append((score.meaning + note, score.text(value), ""))
    if report.get("mean_prediction_mae") is not None:
        floor = COUNT_SCORES["mae"].text(report["mean_prediction_mae"])
        rows.append(("for comparison: MAE of always predicting the training mean", floor, ""))
    return rows


def _data(run: Run) -> str:
    recipe = run.recipe
    section = yaml.safe_dump(
        recipe.data.natural.model_dump(mode="json", exclude_none=True),
        sort_keys=False, allow_unicode=True, default_flow_style=None,
    )  # fmt: skip
    rows = split_rows(run)
    table = ""
    if rows:
        lines = ["| split | images | labelled | groups |", "|---|---|---|---|"]
        table = "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n\n"
    return (
        f"## Data\nNatural images: {data_in_words(recipe)}. {groups_in_words(recipe, rows)} A test "
        "split, where there is one, chose nothing. From the recipe, `recipe.yaml` of the run:\n\n"
        f"```yaml\n{section}```\n\n{table}"
        f"Licence of the images: {licence(recipe)}. It applies to what is learned from them."
    )


def data_in_words(recipe: Recipe) -> str:
    """Which natural images a recipe is about, in a few words that say so if they are simulated."""
    return recipe.data.natural.describe()


def split_rows(run: Run) -> list[tuple[str, str, str, str]]:
    """Split, images, labelled images and groups of what the training wrote down."""
    rows = run.split_table()
    images = Counter(row["split"] for row in rows)
    labelled = Counter(row["split"] for row in rows if row["labelled"] == "1")
    groups = Counter(split for split, _ in {(row["split"], row["group"]) for row in rows})
    return [
        (split, str(images[split]), str(labelled[split]), str(groups[split]))
        for split in SPLITS
        if images[split]
    ]


def groups_in_words(recipe: Recipe, rows: list[tuple[str, str, str, str]]) -> str:
    """What is known of the groups in :func:`split_rows`."""
    alone = rows and all(images == groups for _, images, _, groups in rows)
    if alone and recipe.data.natural.has_label_table:
        return (
            "No two images are of one group: if some show the same cells, name their groups in the "
            "column group of labels.csv, as they may now be in different splits."
        )
    return "No group (chamber, time-lapse, layout) is in two splits."


def environment(run: Run) -> dict[str, Any]:
    """What ``environment.json`` says; empty for a run that was not trained here."""
    file = run.path / "environment.json"
    if run.imported or not file.is_file():
        return {}
    return json.loads(file.read_text(encoding="utf-8"))


def versions_in_words(run: Run) -> str:
    """Program versions and processors of the training."""
    facts = environment(run)
    if not facts:
        return "not written down: the run was not trained here"
    packages = {"cellzoo": facts["cellzoo"], "Python": facts["python"]} | facts["packages"]
    numbers = ", ".join(f"{name} {number}" for name, number in packages.items())
    devices = ", ".join(device.rpartition("physical_device:")[2] for device in facts["devices"])
    system = facts["platform"].partition("-")[0]
    return f"{numbers}; {system}; {devices or facts['backend']}"


def training_command(run: Run) -> str | None:
    """What was typed to start the training; None if that is not known."""
    command = environment(run).get("command")
    return shlex.join(["cellzoo", *command[1:]]) if command else None


def _reproduction(run: Run) -> str:
    if run.imported:
        return """## Reproduce
The weights come from a checkpoint of the Twin-VAE's authors, which `environment.json` in the run
folder names with its SHA-256: `cellzoo import-checkpoint` makes the run of it again. What it was
trained on is not in the file."""
    typed = training_command(run)
    how = f"\n\nTrained with `{typed}`." if typed else ""
    return f"""## Reproduce
```console
$ cellzoo fit recipe.yaml --out again     # the recipe.yaml of the run folder
$ cellzoo evaluate again
```{how}

Seed {run.recipe.seed}. Versions: {versions_in_words(run)}."""
