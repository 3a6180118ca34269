"""Model cards: what a user of a trained model must know, as ``README.md`` of a run and an export.

A card consists of blocks between comments that carry a checksum of what stands between them. A
block that still has its checksum is cellzoo's and is kept up to date; one that somebody has edited,
and everything outside of blocks, is theirs and stays as it is. The words are in
``templates/card.md.j2``.
"""

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import yaml

from cellzoo import zoo
from cellzoo.cards.about_run import (
    licence,
    lone_images,
    short_training,
    split_sizes,
    training_command,
    versions_in_words,
)
from cellzoo.cards.render import blocks, environment
from cellzoo.files import without_folders, write_atomically
from cellzoo.images import sides
from cellzoo.runs import Run
from cellzoo.scores.table import COUNT_SCORES, INTERVAL_SCORES, headline_in_words, known_scores
from cellzoo.scores.uncertainty import against_mean
from cellzoo.trust.intervals import too_few_to_promise

log = logging.getLogger("cellzoo")

CARD_FILE = "README.md"
TEMPLATES = Path(__file__).with_name("templates")
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
    blocks = {"interface": interface}
    # The package has of a run what counting needs: the card alone has scores, splits and versions.
    if existing is None or zoo.name_of(run.path) is None:
        blocks = run_blocks(run) | blocks
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
    recipe, validation = run.recipe, run.validation_scores()
    height, width = sides(recipe.image_size)
    sizes = split_sizes(run)
    natural = {  # a card goes to others
        key: without_folders(value) if isinstance(value, str) else value
        for key, value in recipe.data.natural.model_dump(mode="json", exclude_none=True).items()
    }
    files = sorted((run.path / "report").glob("**/evaluation_*.json"))
    digest = run.digest()
    return blocks(
        environment(TEMPLATES).get_template("card.md.j2"),
        run=run,
        recipe=recipe,
        pixel_size_um=run.pixel_size_um,
        width=width,
        height=height,
        training_counts=validation.get("training_counts"),
        no_labels=recipe.data.natural.keeps_all_labels_hidden,
        augmented_views=recipe.count.test_time_augmentation,
        reports=[report for file in files if (report := _report(file, digest))],
        mae=COUNT_SCORES["mae"],
        no_interval=_no_interval(validation),
        short_training=short_training(run),
        validation={
            "images": validation.get("images"), "scores": headline_in_words(validation)
        },
        data=recipe.data.natural.describe(),
        lone_images=lone_images(recipe, sizes),
        natural_yaml=yaml.safe_dump(
            natural, sort_keys=False, allow_unicode=True, default_flow_style=None
        ),
        splits=sizes,
        licence=licence(recipe),
        command=training_command(run),
        versions=versions_in_words(run),
    )  # fmt: skip


def _no_interval(validation: dict[str, Any]) -> str:
    """Why a finished run promises no interval; empty where it does, or that was not kept."""
    calibration = validation.get("calibration")
    if validation.get("interval") or not calibration:
        return ""
    return too_few_to_promise(calibration["images"], calibration["groups"])


def _report(file: Path, digest: str) -> dict[str, Any] | None:
    """What the card shows of a report of ``evaluate``.

    Args:
        file: of its numbers.
        digest: of the model that the card is of.

    Returns:
        None without scores, of another file, or of what the model was before it was trained on.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if not report["scores"] or not report["subject"]:
            return None
        if report.get("model_digest", digest) != digest:  # earlier versions did not say it
            return None
        floor = report.get("mean_prediction_mae")
        floor = None if floor is None else float(floor)
        images, intervals = int(report["images"]), dict(report["intervals"])
        groups = int(report.get("groups", images))
        # Earlier versions said it in words alone.
        earlier = "validation" if report["subject"].startswith("validation split") else ""
        return {
            "images": images,
            "subject": report["subject"],
            "protocol": report["protocol"],
            "scored_on": report.get("scored_on", earlier),
            "scores": known_scores(_numbers(report["scores"])),
            "intervals": intervals,
            "count_interval": known_scores(
                _numbers(report.get("count_interval") or {}), INTERVAL_SCORES
            ),
            "mean_prediction_mae": floor,
            "against_mean": against_mean(
                images, groups, float(report["scores"]["mae"]), intervals.get("mae"), floor
            ),
        }
    except (ValueError, KeyError, TypeError, AttributeError):  # somebody's own
        return None


def _numbers(scores: dict[str, Any]) -> dict[str, float | None]:
    return {key: None if value is None else float(value) for key, value in scores.items()}
