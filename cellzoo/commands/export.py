"""``cellzoo export``: a run's network as a SavedModel that TensorFlow Serving can serve."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from cellzoo import __version__
from cellzoo.cards.model_card import CARD_FILE, exported_card
from cellzoo.counters.alike_graph import MAX_ALIKE_PIXELS, AlikeGraph
from cellzoo.counters.graph import MAX_PIXELS, CountingGraph, Signature
from cellzoo.counters.load import load_run
from cellzoo.counters.of_run import RunCounter
from cellzoo.counters.preprocessing import (
    FINGERPRINTS_FILE,
    MAX_SIDE,
    METADATA_FILE,
    METADATA_SIGNATURE,
    MIN_SIDE,
)
from cellzoo.counters.saved_model import version_number
from cellzoo.errors import UserError
from cellzoo.files import lock, write_atomically, write_checksums
from cellzoo.protocol.messages import PredictionLog
from cellzoo.protocol.tensors import to_message
from cellzoo.serving.config import model_config
from cellzoo.trust.intervals import Interval

log = logging.getLogger(__name__)

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
TEST_VECTOR_FILE = "assets.extra/test_vector.npz"
MODELS_CONFIG = "models.config"
_NEW = ".new-"  # begins the name of a version that is being written
_LAST = ".last"  # the highest number given: a version that was taken back keeps its own


def export(run_folder: Path, to: Path = Path("saved_models"), serving: Path | None = None) -> Path:
    """Writes a run's network to ``<to>/<name>/<next integer>/``, whole or not at all.

    An unfinished run is exported with the best weights so far, and says so.

    Args:
        run_folder: as ``fit`` or ``import-checkpoint`` leaves it.
        to: folder of the SavedModels.
        serving: folder whose ``models.config``, for TensorFlow Serving, gets the model if it lacks
            it; what else stands there stays.

    Returns:
        The folder of the new version.

    Raises:
        UserError: there is no network in the run, ``models.config`` is wrong, or the written model
            does not count as the run does; nothing is left then.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("A SavedModel is TensorFlow's: export without KERAS_BACKEND.")
    counter = load_run(run_folder)
    graph = counter.graph()
    if graph is None:
        raise UserError(
            f"{run_folder} holds {counter.run.recipe.model.name}, which is no network and cannot "
            "become a SavedModel: `cellzoo count --model` takes the run folder itself."
        )
    name = counter.run.recipe.name
    if not counter.run.finished:
        log.info("The run has no validation scores: its best weights so far, without intervals.")
    if serving:
        _models_config(serving, name)  # a wrong one is told before the work
    base = to / name
    base.mkdir(parents=True, exist_ok=True)
    with lock(base, otherwise=None) as alone:
        if alone:  # else what is found may be another export's, under way
            for left in base.glob(f"{_NEW}????????"):
                shutil.rmtree(left, ignore_errors=True)
        folder = _export(counter, graph, base, serving)
        _keep_number(int(folder.name), base)
        return folder


def _export(
    counter: RunCounter, graph: CountingGraph | AlikeGraph, base: Path, serving: Path | None
) -> Path:
    """Writes the next version in ``base`` and adds the model to the server's configuration."""
    name = counter.run.recipe.name
    # TensorFlow Serving looks only at folders named by an integer.
    temporary = Path(tempfile.mkdtemp(prefix=_NEW, dir=base))
    try:
        _write(counter, graph, temporary)
        temporary.chmod(0o755)
        if not serving:
            return _take_next_version(temporary, base)
        file = (serving / MODELS_CONFIG).resolve()  # a link stays one
        file.parent.mkdir(parents=True, exist_ok=True)
        with lock(file.parent, otherwise=None):
            # Read anew: somebody may have edited it meanwhile.
            config = _models_config(serving, name)
            folder = _take_next_version(temporary, base)
            write_atomically(file, config)
        return folder
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _models_config(serving: Path, name: str) -> str:
    file = serving / MODELS_CONFIG
    try:
        existing = file.read_bytes().decode() if file.exists() else ""  # with its line ends
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}): move it away.") from error
    return model_config([name], existing, name=str(file))


def _take_next_version(temporary: Path, base: Path) -> Path:
    while True:
        taken = [version_number(path) or 0 for path in base.iterdir()]
        folder = base / str(max([*taken, _last_number(base)]) + 1)
        try:
            os.rename(temporary, folder)  # whole, at once; fails where another export was faster
        except OSError:
            if not folder.exists():
                raise
            continue
        return folder


def _keep_number(number: int, base: Path) -> None:
    """Writes down a number that was given."""
    write_atomically(base / _LAST, f"{max(number, _last_number(base))}\n")


def _last_number(base: Path) -> int:
    """The highest number that was given; 0 where that was not written down."""
    try:
        return int((base / _LAST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def _write(counter: RunCounter, graph: CountingGraph | AlikeGraph, folder: Path) -> None:
    signatures = graph.signatures
    metadata = _metadata(counter, graph)
    text = json.dumps(metadata, indent=2) + "\n"
    functions = {name: entry.function for name, entry in signatures.items()}
    all_functions = {**functions, METADATA_SIGNATURE: _metadata_signature(text)}
    tf.saved_model.save(graph, str(folder), signatures=all_functions)
    (folder / "assets.extra").mkdir()
    size = graph.example_size
    examples = {name: _example(entry.dtype, size) for name, entry in signatures.items()}
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        for name, images in examples.items():
            writer.write(_warmup_record(counter.run.recipe.name, name, images))
    outputs = {name: functions[name](images) for name, images in examples.items()}
    _write_test_vector(folder / TEST_VECTOR_FILE, examples, outputs)
    write_atomically(folder / METADATA_FILE, text)
    if seen := counter.seen():
        seen.write(folder / FINGERPRINTS_FILE)
    _verify(folder, examples, outputs)
    interface = _interface(counter, signatures, metadata)
    write_atomically(folder / CARD_FILE, exported_card(counter.run, interface))
    write_checksums(folder)


def _metadata_signature(text: str) -> Callable:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="asked")], autograph=False)
    def metadata(asked):
        # An answer for each element: servers that make batches want an input and such outputs.
        return {METADATA_SIGNATURE: tf.fill(tf.shape(tf.ensure_shape(asked, [None])), text)}

    return metadata


def _example(dtype: tf.DType, size: tuple[int, int]) -> np.ndarray:
    """Two images of noise, as a signature of this type takes them."""
    grey = np.random.default_rng(0).integers(0, 256, (2, *size))
    if dtype == tf.uint8:
        return grey.astype(np.uint8)
    if dtype == tf.uint16:
        return (257 * grey).astype(np.uint16)
    if dtype == tf.string:
        files = [cv2.imencode(".png", image)[1].tobytes() for image in grey.astype(np.uint8)]
        return np.array(files, object)
    return (grey / 255).astype(np.float32)


def _warmup_record(model: str, signature: str, images: np.ndarray) -> bytes:
    record = PredictionLog()
    request = record.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = model, signature
    request.inputs["images"].CopyFrom(to_message(images))
    return record.SerializeToString()


def _write_test_vector(file: Path, examples: dict, outputs: dict) -> None:
    """``<signature>/images`` and ``<signature>/<output>``; files of pictures as rows of bytes."""
    arrays = {}
    for name, images in examples.items():
        if images.dtype == object:
            for k, content in enumerate(images):
                arrays[f"{name}/images/{k}"] = np.frombuffer(content, np.uint8)
        else:
            arrays[f"{name}/images"] = images
        arrays |= {f"{name}/{key}": value.numpy() for key, value in outputs[name].items()}
    np.savez(file, **arrays)


def _verify(folder: Path, examples: dict, outputs: dict) -> None:
    """Loads what was written and compares it with what it was written from."""
    loaded = tf.saved_model.load(str(folder))
    for name, images in examples.items():
        answers = loaded.signatures[name](images=tf.constant(images))
        for key, expected in outputs[name].items():
            if not np.allclose(answers[key], expected, rtol=1e-5, atol=1e-5, equal_nan=True):
                raise UserError(
                    f"The written model answers {key} of {name} otherwise than the run: nothing "
                    "was exported; check the disk and try again."
                )


def _metadata(counter: RunCounter, graph: CountingGraph | AlikeGraph) -> dict[str, Any]:
    run, section = counter.run, counter.run.recipe.data.natural
    known = counter.out_of_distribution
    return {
        "name": counter.run.recipe.name,
        "model": run.recipe.model.name,
        "run": counter.version,
        "digest": counter.digest,
        "finished": run.finished,
        "preprocessing": asdict(counter.preprocessing),
        "alike": counter.measuring.metadata() if counter.measuring else None,
        "interval": counter.interval.metadata() if counter.interval else None,
        "no_interval": counter.no_interval or None,
        "out_of_distribution": known.metadata() if known else None,
        "training_mean": counter.training_mean,
        "training_counts": counter.training_counts,
        "signatures": sorted([*graph.signatures, METADATA_SIGNATURE]),
        "parameters": int(sum(np.prod(p.shape) for p in graph.parameters)),
        "simulated": section.simulated,
        "versions": {
            "cellzoo": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def _interface(
    counter: RunCounter, signatures: dict[str, Signature], metadata: dict[str, Any]
) -> str:
    """The part of the model card that a run has no use for."""
    rows = [(name, entry.images, entry.outputs) for name, entry in signatures.items()]
    answer = f"`{METADATA_SIGNATURE}`: how images are read, and what the model is, as JSON"
    rows.append((METADATA_SIGNATURE, "instead `asked`: string `[batch]`, anything", answer))
    table = "\n".join("| `{}` | {} | {} |".format(*row) for row in rows)
    versions = ", ".join(f"{name} {number}" for name, number in metadata["versions"].items())
    return f"""## Inputs and outputs
{_taken(counter)}

| signature | `images` | outputs |
|---|---|---|
{table}

95 % interval: {_interval(counter.interval, counter.no_interval)}.

{metadata["parameters"]:,} parameters. Exported with {versions}. `checksums.txt` has the SHA-256 of
every file, which shows damage but not who made the model; `{TEST_VECTOR_FILE}` has images with the
expected answers. A SavedModel is a program: cellzoo refuses operations that no export has. That is
a net and not a wall, so load models of people you know.
"""


def _taken(counter: RunCounter) -> str:
    """Which images a model takes, Markdown."""
    preprocessing, measuring = counter.preprocessing, counter.measuring
    if measuring:
        return f"""**Images are not taken as they are.** Who asks makes them alike first:
{measuring.form}. `cellzoo count` does so, and finds out how large the cells are; docs/serving.md
says how other programs do. At most {MAX_ALIKE_PIXELS:,} pixels in a batch. The interval is that of
an image like those of training; `cellzoo count` widens it for others, up to none."""
    height, width = preprocessing.size
    others = "resized to" if preprocessing.resize else "refused unless they are"
    return f"""Images are {width} x {height} pixels; others are {others} that size. Sides of
{MIN_SIDE} to {MAX_SIDE} pixels, at most {MAX_PIXELS:,} pixels in a batch. Grey levels: intensity
`{preprocessing.intensity}` (`dtype`: 0 to the type's maximum, floats 0 to 1)."""


def _interval(interval: Interval | None, why: str) -> str:
    if interval is None:
        return f"none can be promised ({why}): NaN"
    facts = interval.metadata()
    share = ""
    if interval.images:
        low, high = 100 * facts["covered_share_low"], 100 * facts["covered_share_high"]
        share = f": {interval.images} images of {interval.groups} groups, from which 9 intervals "
        share += f"of 10 hold {low:.0f} to {high:.0f} % of counts"
    return (
        f"{interval.formula()}, never below 0, with the whole count always inside "
        f"(conformal prediction on the validation split{share}; for images like those)"
    )
