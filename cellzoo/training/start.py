"""Training that begins with the weights of another run."""

import logging

import keras
import numpy as np

from cellzoo import zoo
from cellzoo.counters.load import load_run
from cellzoo.data.copies import copies
from cellzoo.data.image_set import ImageSet
from cellzoo.data.seen import Seen
from cellzoo.errors import UsageError, UserError
from cellzoo.images import sides
from cellzoo.recipe import Recipe
from cellzoo.runs import Run, build_network
from cellzoo.scores.table import count_metrics, headline_in_words

log = logging.getLogger("cellzoo")


def new_network(recipe: Recipe) -> keras.Model:
    """The network with its first weights: random, pre-trained, or those of another run.

    The other run's network may have more parts than this one, such as decoders.

    Raises:
        UsageError: the other run's network is another one.
    """
    start = recipe.train.start_from
    if start is None:
        return build_network(recipe)
    other = Run(zoo.find(start))
    network = build_network(recipe, pretrained=False)
    theirs = {layer.name: layer.get_weights() for layer in other.load_network().layers}
    if getattr(recipe.model, "shared_reader", False) and "natural_encoder" in theirs:
        theirs.setdefault("synthetic_encoder", theirs["natural_encoder"])  # may have come later
    try:
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(theirs[layer.name])
        for layer in network._flatten_layers():
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # computes with a copy of its weights, made here
    except (KeyError, ValueError):
        differ = [d for d in other.recipe.differences(recipe) if d.startswith(("model.", "data.s"))]
        raise UsageError(
            f"train.start_from: {start} holds another network than the recipe describes "
            f"({'; '.join(differ[:3]) or 'model'}): make the model sections alike."
        ) from None
    return network


def check_leakage(run: Run, images: ImageSet, prints: np.ndarray) -> Seen:
    """Sees to it that the weights that the training begins with have not seen what is held out.

    Groups are dealt out anew where a folder has grown, or the seed is another. Images are compared
    by what they show: names, grey levels, sizes and orientations may differ. The validation split
    may choose again where it chose before, but nothing may have learned from it. The test split may
    have had no part at all.

    Args:
        run: the training.
        images: its images of all splits.
        prints: their fingerprints, int8 ``[n, LENGTH]``.

    Returns:
        All that the weights will have seen in the end.

    Raises:
        UserError: they have.
    """
    validation = images.splits == "validation"
    seen = Seen(prints[images.splits == "train"], prints[validation & images.labelled])
    name = run.recipe.train.start_from
    if name is None:
        return seen
    start = Run(zoo.find(name))
    theirs = start.fingerprints()
    if theirs is None:
        log.warning(
            "%s is of an earlier version and does not say which images it learned from: scores are "
            "too good if some of them are held out here.", name,
        )  # fmt: skip
        return seen
    both = theirs.joined(seen)
    source = run.recipe.data.natural
    if source.reads_files and source.allows_copies:
        return both
    found = []
    for split, known in (("validation", theirs.taught), ("test", theirs.everything)):
        members = np.flatnonzero(images.splits == split)
        found += [members[pair.second] for pair in copies(known, prints[members])]
    if found:
        raise UserError(
            f"train.start_from: {name} has seen {images.names[found[0]]}"
            f"{f' and {len(found) - 1} more' if found[1:] else ''}, or a copy, which would be held "
            f"out now: {_cure(start)}."
        )
    return both


def _cure(start: Run) -> str:
    if start.splits_file.is_file():
        return (
            f"write a split column into labels.csv as {start.splits_file} has it, or start without "
            "those weights"
        )
    return "mark these images as train in the split column of labels.csv, or start without them"


def compare_with_start(run: Run, validation: ImageSet, error: float) -> None:
    """Says how well the model counted that the training began with: a short one may spoil it."""
    name = run.recipe.train.start_from
    start = load_run(zoo.find(name))
    if start.preprocessing.size != sides(run.recipe.image_size):
        return
    predicted = start.count(validation.given, scaled=True, flags=False).raw
    scores = count_metrics(validation.counts, predicted)
    log.info("%s, with which it began: %s", name, headline_in_words(scores))
    if scores["mae_raw"] < error:
        log.warning("%s counts these images better: count with it, or train for longer.", name)
