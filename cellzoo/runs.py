"""Run folders: all that a training leaves behind, and what it needs to go on.

Keras is imported by what loads or builds a network alone: its import takes 3 s.
"""

import csv
import io
import json
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellzoo import zoo
from cellzoo.data.seen import Seen
from cellzoo.errors import UsageError, UserError
from cellzoo.files import (
    csv_plain,
    csv_safe,
    finite,
    read_json,
    sha256,
    write_atomically,
    write_csv,
)
from cellzoo.recipe import Recipe, load_recipe
from cellzoo.scores.table import COUNT_SCORES, MASK_SCORES
from cellzoo.trust.out_of_distribution import OutOfDistribution

if TYPE_CHECKING:
    import keras

    from cellzoo.data.image_set import ImageSet
    from cellzoo.models.section import FittedCounter

_VALIDATION_NUMBERS = ("images", "training_mean", "interval_half_width", "steps")
_ANEW = "bring a copy back, or train anew with another --out"
_SPLITS_CURE = "copy the run folder anew: else nobody knows what the training saw"


def recipe_file(run: Path) -> Path:
    """The effective recipe of a run folder."""
    return run / "recipe.yaml"


def weights_file(run: Path, selection: str = "best") -> Path:
    """Weights of the checkpoint chosen as ``"best"``, ``"max_acc"`` or ``"min_dev"``."""
    return run / "checkpoints" / f"{selection}.weights.h5"


class Run:
    """A run folder, ``runs/<recipe>/<time>/``.

    Attributes:
        path: the folder.
        recipe: the effective recipe, with everything the command line changed.
    """

    def __init__(self, path: Path):
        """Opens an existing run folder.

        Raises:
            UserError: the folder holds no run.
        """
        self.path = path
        if not self.recipe_file.is_file():
            raise UserError(
                f"{path} is not a run folder: it has no recipe.yaml; `cellzoo fit` makes one."
            )
        self.recipe = load_recipe(self.recipe_file)

    @classmethod
    def create(cls, path: Path, recipe: Recipe) -> "Run":
        """Makes a new run folder.

        Raises:
            UserError: there is something in the folder already.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} holds other files: choose another --out.")
        for folder in ("checkpoints", "report", "tensorboard"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        write_atomically(recipe_file(path), recipe.to_yaml())
        return cls(path)

    @property
    def recipe_file(self) -> Path:
        """The effective recipe."""
        return recipe_file(self.path)

    @property
    def best_weights(self) -> Path:
        """Weights of the network to count with."""
        return self.weights("best")

    def weights(self, selection: str) -> Path:
        """Weights of the checkpoint chosen as ``"best"``, ``"max_acc"`` or ``"min_dev"``.

        The recipe's ``train.select`` says which of the selections is the best.
        """
        return weights_file(self.path, selection)

    @property
    def parameters_file(self) -> Path:
        """What was fitted, where the model is no network."""
        return self.path / "checkpoints" / "parameters.json"

    def digest(self, selection: str = "best") -> str:
        """What distinguishes a model from what it was before it was trained on; empty: none yet.

        Args:
            selection: which checkpoint, see :meth:`weights`.
        """
        files = (self.weights(selection), self.parameters_file)
        return next((sha256(file)[:16] for file in files if file.is_file()), "")

    @property
    def last_state(self) -> Path:
        """Every variable of the training after its last whole epoch, to go on from."""
        return self.path / "checkpoints" / "last.npz"

    @property
    def history_file(self) -> Path:
        """One row per epoch."""
        return self.path / "history.csv"

    @property
    def validation_file(self) -> Path:
        """Scores on the validation split; written last, so it marks a finished run."""
        return self.path / "report" / "validation.json"

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return self.validation_file.is_file()

    @property
    def imported(self) -> bool:
        """Whether it was trained elsewhere, see :mod:`cellzoo.convert.checkpoint`."""
        file = self.path / "environment.json"
        cure = "delete it, and versions and command of the training are not known"
        return file.is_file() and "imported_from" in read_json(file, cure)

    @property
    def version(self) -> str:
        """What ``counts.csv`` calls this model's version: the folder's name."""
        return self.path.resolve().name

    def validation_scores(self) -> dict[str, Any]:
        """Scores on the validation split; empty while the run is not finished.

        Raises:
            UserError: the file is damaged.
        """
        if not self.finished:
            return {}
        cure = "copy the run folder anew, or delete the file and train on with `cellzoo fit`"
        scores = read_json(self.validation_file, cure)
        numbers = [scores.get(key) for key in (*COUNT_SCORES, *MASK_SCORES, *_VALIDATION_NUMBERS)]
        with _undamaged(self.validation_file, cure):
            numbers += scores.get("training_counts") or [0, 0]
            if any(isinstance(n, bool) or not isinstance(n, int | float | None) for n in numbers):
                raise ValueError("something else than a number")
            low, high = scores.get("training_counts") or [0, 0]
        return scores

    @property
    def pixel_size_um(self) -> float | None:
        """Width in micrometres of a pixel of the training files; None: not known.

        As the recipe's card says or, where it does not, as the files or their table said.
        """
        card = self.recipe.card
        if card and card.pixel_size_um:
            return card.pixel_size_um
        return self.validation_scores().get("pixel_size_um")

    @property
    def out_of_distribution_file(self) -> Path:
        """What the training images look like, to flag others."""
        file = self.path / "report" / "out_of_distribution.json"
        earlier = file.with_name("familiarity.json")
        return earlier if earlier.is_file() and not file.is_file() else file

    def keep_out_of_distribution(self, known: OutOfDistribution) -> None:
        """Writes down what the training images look like."""
        write_atomically(self.out_of_distribution_file, json.dumps(known.metadata()) + "\n")

    def out_of_distribution(self) -> OutOfDistribution | None:
        """What the training images look like; None for a run that was not trained here.

        Raises:
            UserError: the file is damaged.
        """
        if not self.out_of_distribution_file.is_file():
            return None
        try:
            text = self.out_of_distribution_file.read_text(encoding="utf-8")
            return OutOfDistribution.from_metadata(json.loads(text))
        except (ValueError, KeyError, TypeError, IndexError):
            raise UserError(
                f"{self.out_of_distribution_file} is damaged: delete it, and images are not "
                "flagged, or train anew."
            ) from None

    def replace_recipe(self, recipe: Recipe) -> None:
        """Writes another effective recipe, before training starts."""
        write_atomically(self.recipe_file, recipe.to_yaml())
        self.recipe = recipe

    def history(self) -> list[dict[str, float]]:
        """The rows of ``history.csv``, numbers as floats.

        Raises:
            UserError: the file is damaged.
        """
        if not self.history_file.is_file():
            return []
        with _undamaged(self.history_file, _ANEW):
            text = self.history_file.read_text(encoding="utf-8")
            # A kill, or a full disk, may have left half a row.
            whole = [line for line in io.StringIO(text, newline="") if line.endswith("\n")]
            return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(whole)]

    def append_history(self, row: dict[str, float]) -> None:
        """Adds a row to ``history.csv``, with all digits: later decisions rest on them."""
        lines = [] if self.history_file.is_file() else [",".join(row)]
        lines.append(_history_line(row))
        with self.history_file.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def forget_history_after(self, epoch: int) -> None:
        """Drops the rows of epochs whose state was not saved: they are trained again."""
        if not self.history_file.is_file():
            return
        kept = [row for row in self.history() if row["epoch"] <= epoch]
        if kept:
            lines = [",".join(kept[0]), *(_history_line(row) for row in kept)]
            write_atomically(self.history_file, "\n".join(lines) + "\n")
        else:
            self.history_file.unlink()

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes ``content`` to the file ``name`` of this folder; null for what is no number."""
        write_atomically(self.path / name, json.dumps(finite(content), indent=2) + "\n")

    def save_state(self, variables: Iterable["keras.Variable"]) -> None:
        """Saves the variables, in their order, as ``checkpoints/last.npz``."""
        import keras  # 3 s, here and below, unless it is there already

        arrays = {
            f"{k:05d}": np.asarray(keras.ops.convert_to_numpy(variable))
            for k, variable in enumerate(variables)
        }
        temporary = self.last_state.with_name("last.tmp.npz")
        np.savez(temporary, **arrays)
        os.replace(temporary, self.last_state)

    def load_state(self, variables: Iterable["keras.Variable"]) -> None:
        """Sets the variables to what :meth:`save_state` saved.

        Raises:
            UserError: the file is damaged, or of another model.
        """
        with _undamaged(self.last_state, _ANEW), np.load(self.last_state) as arrays:
            saved = [arrays[name] for name in sorted(arrays.files)]
        variables = list(variables)
        if [v.shape for v in variables] != [a.shape for a in saved]:
            raise UserError(
                f"{self.last_state} is of another model than {self.recipe_file} describes: "
                "restore the recipe or start again with another --out."
            )
        for variable, array in zip(variables, saved, strict=True):
            variable.assign(array)

    @property
    def fingerprints_file(self) -> Path:
        """What the images show that the model learned from or was chosen on."""
        return self.path / "fingerprints.npz"

    def keep_fingerprints(self, seen: Seen) -> None:
        """Writes down what the model has seen."""
        seen.write(self.fingerprints_file)

    def fingerprints(self) -> Seen | None:
        """What the model has seen; None for a run of an earlier version.

        Raises:
            UserError: the file is damaged.
        """
        if not self.fingerprints_file.is_file():
            return None
        try:
            return Seen.read(self.fingerprints_file)
        except ValueError:
            raise UserError(
                f"{self.fingerprints_file} is damaged: copy the run folder anew, or delete the "
                "file, and copies of its training images are not found any more."
            ) from None

    @property
    def splits_file(self) -> Path:
        """Which image was in which split: evaluation must not deal them out anew."""
        return self.path / "splits.csv"

    def keep_splits(self, images: "ImageSet") -> None:
        """Writes down who is in which split, or compares with what a first start wrote down.

        Raises:
            UserError: the images are not those that the training began with.
        """
        header = ["image", "group", "split", "labelled", "count", "mean"]
        means = images.images.mean(axis=(1, 2), dtype=float)
        rows = [
            [csv_safe(str(name)), csv_safe(str(group)), str(split), str(int(known)),
             f"{count:g}" if known else "", f"{mean:.7f}"]
            for name, group, split, known, count, mean in zip(
                images.names, images.groups, images.splits, images.labelled, images.counts, means,
                strict=True,
            )
        ]  # fmt: skip
        if not self.splits_file.is_file():
            write_csv(self.splits_file, header, rows)
            return
        with _undamaged(self.splits_file, _SPLITS_CURE):
            text = self.splits_file.read_text(encoding="utf-8")
            kept = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
            # Earlier versions wrote names as they are.
            kept = [[csv_safe(csv_plain(cell)) for cell in row[:2]] + row[2:] for row in kept]
        columns = len(kept[0])  # earlier versions kept no counts, then no means
        texts = min(columns, len(header) - 1)
        same = [row[:texts] for row in kept] == [row[:texts] for row in (header, *rows)]
        if same and columns > texts:
            try:
                # Another machine may round another way.
                same = np.allclose([float(row[texts]) for row in kept[1:]], means, 0, 1e-5)
            except (ValueError, IndexError):
                same = False
        if not same:
            raise UserError(
                f"The images or labels differ from those in {self.splits_file}, with which "
                "this training began: bring them back or choose another --out."
            )

    def split_table(self) -> list[dict[str, str]]:
        """The rows of ``splits.csv``: image, group, split, ``labelled``, ``count`` and ``mean``.

        ``labelled`` is 0 or 1, ``count`` empty where none was known, ``mean`` that of the image's
        grey levels in [0, 1].

        Raises:
            UserError: the file is damaged.
        """
        if not self.splits_file.is_file():
            return []
        with _undamaged(self.splits_file, _SPLITS_CURE):
            text = self.splits_file.read_text(encoding="utf-8")
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
            for row in rows:
                row["image"], row["group"] = csv_plain(row["image"]), csv_plain(row["group"])
                if row["split"] is None or row["labelled"] is None:
                    raise ValueError("half a row")
                float(row.get("mean") or 0)
        return rows

    def load_network(self, selection: str = "best") -> "keras.Model":
        """The recipe's network with the weights to count with.

        Args:
            selection: which checkpoint, see :meth:`weights`.

        Raises:
            UserError: there are none yet, or they are of another model.
        """
        weights = self.weights(selection)
        if not weights.is_file():
            raise self._no_model()
        network = build_network(self.recipe, pretrained=False)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the sentence below is enough
                network.load_weights(weights)
        except Exception:  # of which a damaged file makes HDF5 raise many
            raise UserError(
                f"{weights} is damaged or of another model than recipe.yaml: "
                "copy it again or train anew."
            ) from None
        return network

    def load_classical(self) -> "FittedCounter":
        """The fitted counter of the recipe's model.

        Raises:
            UserError: it is not fitted yet, or the file is damaged.
        """
        if not self.parameters_file.is_file():
            raise self._no_model()
        try:
            parameters = json.loads(self.parameters_file.read_text(encoding="utf-8"))
            return self.recipe.model.load(parameters)
        except (ValueError, TypeError, LookupError, AttributeError):
            raise UserError(
                f"{self.parameters_file} is damaged or of another model than recipe.yaml: "
                "copy it again or fit anew."
            ) from None

    def _no_model(self) -> UserError:
        return UserError(
            f"{self.path} has no model yet: let `cellzoo fit` reach its first validation."
        )

    def save_best(self, network: "keras.Model") -> None:
        """Saves the network's weights to count with."""
        self.save_weights(network, self.best_weights)

    def save_weights(self, network: "keras.Model", file: Path) -> None:
        """Saves the network's weights to ``file``, at once or not at all."""
        temporary = file.with_name("new.tmp.weights.h5")
        network.save_weights(temporary)
        os.replace(temporary, file)


@contextmanager
def _undamaged(file: Path, cure: str) -> Iterator[None]:
    """Turns what a damaged file makes readers raise into a sentence."""
    try:
        yield
    except (
        ValueError, TypeError, LookupError, AttributeError, EOFError, csv.Error, zipfile.BadZipFile
    ):  # fmt: skip
        raise UserError(f"{file} is damaged: {cure}.") from None


def _history_line(row: dict[str, float]) -> str:
    return ",".join(repr(value) for value in row.values())


def build_network(recipe: Recipe, pretrained: bool = True) -> "keras.Model":
    """Builds the model of a recipe with the weights that it starts from.

    Args:
        recipe: names the model and the seed of its random weights.
        pretrained: read the file of pre-trained weights that the recipe may name; a network that is
            to get those of a trained one has no use for it.

    Raises:
        UserError: the network, which somebody may be writing, has other inputs or counts than asked
            for.
    """
    import keras  # 3 s

    keras.utils.set_random_seed(recipe.seed)
    domains = ("natural", "synthetic") if recipe.data.synthetic else ("natural",)
    network = recipe.model.build(domains, recipe.seed, pretrained)
    for domain in domains:
        ends = {domain: network.input, f"{domain}_count": network.output}
        shapes = [
            len(tensors[key].shape) if isinstance(tensors, dict) and key in tensors else 0
            for key, tensors in ends.items()
        ]
        if shapes != [3, 1]:  # a count [batch, 1] would be compared with every label
            raise UserError(
                f"The network of {recipe.model.name} must have the input {domain}, "
                f"[batch, height, width], and the output {domain}_count, [batch]: see "
                "docs/models.md."
            )
    return network


def check_start(recipe: Recipe) -> None:
    """Sees to it that a training can begin with the weights that the recipe names, if it does.

    Raises:
        UsageError: ``train.start_from`` is no run folder and no ``zoo:NAME``, or has no weights.
    """
    start = recipe.train.start_from
    if start is None:
        return
    try:
        folder = zoo.find(start)
    except UserError as error:
        raise UsageError(f"train.start_from: {error}") from None
    if not recipe_file(folder).is_file():
        raise UsageError(
            f"train.start_from: {start} is not a run folder: name one that `cellzoo fit` wrote, "
            "or zoo:NAME."
        )
    if not weights_file(folder).is_file():
        raise UsageError(
            f"train.start_from: {start} has no weights to begin with: name the run of a network "
            "that has reached its first validation, or zoo:NAME."
        )
