"""Training that begins with the weights of another run."""

import logging
import math

import keras

from cellzoo import zoo
from cellzoo.counters.load import load_run
from cellzoo.data.image_set import ImageSet
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


def check_leakage(run: Run) -> None:
    """Sees to it that no image held out here taught the weights that the training begins with.

    Groups are dealt out anew where a folder has grown, or the seed is another.

    Raises:
        UserError: some did.
    """
    if run.recipe.train.start_from is None:
        return
    start = Run(zoo.find(run.recipe.train.start_from))

    def means(of: Run, *splits: str) -> dict[str, float]:
        rows = (row for row in of.split_table() if row["split"] in splits)
        return {row["image"]: float(row["mean"]) for row in rows if row.get("mean")}

    # By name and grey level: the folder may have been moved, and others have the same names.
    taught, here = means(start, "train"), means(run, "validation", "test")
    held_out = [n for n, mean in here.items() if abs(taught.get(n, math.inf) - mean) < 1e-6]
    if held_out:
        raise UserError(
            f"train.start_from: {start.path} learned from {held_out[0]}"
            f"{f' and {len(held_out) - 1} more' if held_out[1:] else ''}, which would be held out "
            f"now: write a split column into labels.csv as {start.splits_file} has it, or start "
            "without those weights."
        )


def compare_with_start(run: Run, validation: ImageSet, error: float) -> None:
    """Says how well the model counted that the training began with: a short one may spoil it."""
    name = run.recipe.train.start_from
    start = load_run(zoo.find(name))
    if start.preprocessing.size != sides(run.recipe.image_size):
        return
    predicted = start.count(validation.images, scaled=True, flags=False).raw
    scores = count_metrics(validation.counts, predicted)
    log.info("%s, with which it began: %s", name, headline_in_words(scores))
    if scores["mae_raw"] < error:
        log.warning("%s counts these images better: count with it, or train for longer.", name)
