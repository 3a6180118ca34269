"""``cellzoo import-checkpoint``: the Twin-VAE authors' PyTorch checkpoints as run folders."""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from cellzoo import __version__
from cellzoo.convert.torch_checkpoint import read_state_dict
from cellzoo.data.sources import Folder
from cellzoo.errors import UserError
from cellzoo.models import TwinVAE
from cellzoo.models.section import DOMAINS
from cellzoo.recipe import Data, Recipe
from cellzoo.runs import Run
from cellzoo.synthetic.settings import Synthetic

# The authors' names for the two domains.
_AUTHORS_DOMAIN = {"natural": "natural", "synthetic": "synth"}
# Where convolutions stand in their Sequentials; between them are activations and the like.
_READER = (0, 3, 6, 9)
_WRITER = (0, 3, 6, 9, 12)
# [out, in, h, w] -> [h, w, in, out] and, transposed, [in, out, h, w] -> [h, w, out, in].
_CONVOLUTION, _DENSE, _VECTOR = (2, 3, 1, 0), (1, 0), (0,)


def import_checkpoint(file: Path, out: Path) -> Run:
    """Turns a checkpoint of the authors' Twin-VAE into a run folder to evaluate or count with.

    PyTorch reads the file and runs nothing in it, see :mod:`cellzoo.convert.torch_checkpoint`. The
    widths of the layers are the file's. Such a file does not say how the network was trained: the
    folder's recipe holds the network, and defaults for the rest.

    Args:
        file: a ``.pth`` file with the ``state_dict`` of the authors' network.
        out: the run folder to make; it must not exist or be empty.

    Returns:
        The new run, with ``checkpoints/best.weights.h5`` and an ``environment.json`` that holds
        the file's name and SHA-256.

    Raises:
        UserError: PyTorch is not installed, the file cannot be read, a tensor is missing, too many
            or of a wrong shape, or ``out`` holds something already. No folder is made then.
    """
    file, out = Path(file), Path(out)
    tensors = _without_wrappers(read_state_dict(file), str(file))
    model = _widths(tensors, str(file))
    network = model.build(DOMAINS)
    set_weights_from_state_dict(network, tensors, source=str(file))
    try:
        run = Run.create(out, _recipe(file, model))
        run.save_best(network)
        run.write_json("environment.json", _origin(file, tensors))
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{out} cannot be written ({reason}): choose another --out.") from error
    return run


def set_weights_from_state_dict(
    network: keras.Model, tensors: Mapping[str, np.ndarray], source: str = "The state_dict"
) -> None:
    """Sets all weights of a Twin-VAE to those of the authors' PyTorch network.

    Args:
        network: a built :class:`cellzoo.models.TwinVAE` with both domains, two regressor
            layers and ``regressor_input="latent"``.
        tensors: float arrays by the authors' names, in PyTorch's layout: convolutions
            ``[out, in, h, w]``, transposed ones ``[in, out, h, w]``, dense ones ``[out, in]``.
            Names may hold ``module``, which a wrapper for several GPUs adds.
        source: where they are from, to begin an error's sentence with.

    Raises:
        UserError: a tensor is missing, too many, of a wrong shape, or holds what is no finite
            number. No weight is changed then.
    """
    tensors = _without_wrappers(tensors, source)
    places = list(_places(network))
    arrays = [
        _checked(tensors, name, _torch_shape(weight, axes), source) for name, weight, axes in places
    ]
    known = {name for name, _, _ in places}
    extra = [name for name in tensors if name not in known and not _is_counter(name)]
    if extra:
        raise UserError(
            f"{source} has the tensor {extra[0]}, which the authors' Twin-VAE has not "
            f"({len(extra)} such in all): import a checkpoint of that network."
        )
    for (_, weight, axes), array in zip(places, arrays, strict=True):
        weight.assign(np.transpose(array, axes).astype("float32"))


def _without_wrappers(tensors: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """The tensors under the names that they have in a network for one GPU.

    The authors wrap every part for several GPUs, so that names read
    ``natural_reader.module.0.weight``; a network that is wrapped whole has ``module.`` in front.
    """
    plain: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        short = ".".join(part for part in name.split(".") if part != "module")
        if short in plain:
            raise UserError(
                f"{source} has the tensor {short} twice, once wrapped for several GPUs: import a "
                "checkpoint of one network."
            )
        plain[short] = array
    return plain


def _places(network: keras.Model) -> Iterator[tuple[str, keras.Variable, tuple[int, ...]]]:
    """The authors' name of each weight, the weight, and the axes that turn theirs into ours."""

    def weighted(name: str, layer: keras.layers.Layer, axes: tuple[int, ...]):
        yield f"{name}.weight", layer.kernel, axes
        yield f"{name}.bias", layer.bias, _VECTOR

    def normalised(name: str, layer: keras.layers.Layer):
        yield f"{name}.weight", layer.gamma, _VECTOR
        yield f"{name}.bias", layer.beta, _VECTOR
        yield f"{name}.running_mean", layer.moving_mean, _VECTOR
        yield f"{name}.running_var", layer.moving_variance, _VECTOR

    for domain, theirs in _AUTHORS_DOMAIN.items():
        encoder = network.get_layer(f"{domain}_encoder")
        for k, place in enumerate(_READER, start=1):
            layer = encoder.get_layer(f"conv{k}")
            yield from weighted(f"{theirs}_reader.{place}", layer, _CONVOLUTION)
        decoder = network.get_layer(f"{domain}_decoder")
        for k, place in enumerate(_WRITER, start=1):
            layer = decoder.get_layer(f"up{k}")
            yield from weighted(f"{theirs}_writer.{place}", layer, _CONVOLUTION)
            if place != _WRITER[-1]:
                norm = decoder.get_layer(f"up{k}_norm")
                yield from normalised(f"{theirs}_writer.{place + 1}", norm)

    encoder, decoder = network.get_layer("shared_encoder"), network.get_layer("shared_decoder")
    yield from weighted("common_encoder.0", encoder.get_layer("conv"), _CONVOLUTION)
    yield from weighted("fc1.0", network.get_layer("latent_mean"), _DENSE)
    yield from weighted("fc2.0", network.get_layer("latent_log_variance"), _DENSE)
    yield from weighted("fc3.0", decoder.get_layer("dense"), _DENSE)
    yield from weighted("common_decoder.1", decoder.get_layer("up"), _CONVOLUTION)
    yield from normalised("common_decoder.2", decoder.get_layer("up_norm"))
    for place, name in ((0, "dense1"), (2, "dense2"), (4, "count")):
        layer = network.get_layer("regressor").get_layer(name)
        yield from weighted(f"regressor.{place}", layer, _DENSE)


def _torch_shape(weight: keras.Variable, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that becomes the weight's when transposed by ``axes``."""
    return tuple(weight.shape[axes.index(axis)] for axis in range(len(axes)))


def _is_counter(name: str) -> bool:
    """Whether a tensor only counts the batches that a batch norm has seen."""
    return name.endswith(".num_batches_tracked")


def _checked(
    tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], source: str
) -> np.ndarray:
    """The tensor of that name, if it is what the network can take."""
    array = _tensor(tensors, name, len(shape), source)
    if array.shape != shape:
        raise UserError(
            f"{source}: the tensor {name} is {_by(array.shape)} where the authors' Twin-VAE, as "
            f"wide as the other tensors tell, has {_by(shape)}: import one of that network."
        )
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise UserError(
            f"{source}: the tensor {name} holds values that are no finite floating-point numbers: "
            "import a checkpoint from before the training failed."
        )
    return array


def _tensor(
    tensors: Mapping[str, np.ndarray], name: str, rank: int, source: str
) -> np.ndarray:
    """The tensor of that name and number of axes."""
    if name not in tensors:
        raise UserError(
            f"{source} lacks the tensor {name} of the authors' Twin-VAE: "
            "import a checkpoint of that network."
        )
    array = tensors[name]
    if array.ndim != rank or 0 in array.shape:
        raise UserError(
            f"{source}: the tensor {name} is {_by(array.shape)} where the authors' Twin-VAE has "
            f"{rank} axes: import a checkpoint of that network."
        )
    return array


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _widths(tensors: Mapping[str, np.ndarray], source: str) -> TwinVAE:
    """The network whose widths are those of the file's layers."""

    def outputs(name: str, rank: int) -> int:
        return _tensor(tensors, name, rank, source).shape[0]

    return TwinVAE(
        name="twinvae",
        channels=tuple(outputs(f"natural_reader.{place}.weight", 4) for place in _READER),
        shared_channels=outputs("common_encoder.0.weight", 4),
        latent=outputs("fc1.0.weight", 2),
        regressor=[outputs(f"regressor.{place}.weight", 2) for place in (0, 2)],
    )


def _recipe(file: Path, model: TwinVAE) -> Recipe:
    """A recipe of that network; the folder in it is one that ``evaluate`` has to be given."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem).strip("_.") or "checkpoint"
    return Recipe(
        name=name,
        data=Data(
            natural=Folder(folder="folder-of-your-images"),
            # A recipe without a synthetic set has a network without a synthetic half.
            synthetic=Synthetic(preset="bf", background=None),
        ),
        model=model,
    )


def _origin(file: Path, tensors: Mapping[str, np.ndarray]) -> dict[str, object]:
    """What ``environment.json`` says of a run that was not trained here."""
    return {
        "cellzoo": __version__,
        "packages": {"keras": keras.__version__, "numpy": np.__version__},
        "backend": keras.backend.backend(),
        "imported_from": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "tensors": len(tensors),
        "note": "Imported from a PyTorch checkpoint: only the network in recipe.yaml is known, "
        "not how it was trained.",
        "imported": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
