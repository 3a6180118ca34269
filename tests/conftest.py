"""The authors' Twin-VAE as a reference: parameters and images by rule, outputs by file.

Their program in evaluation mode, z = mean, gave the outputs. The rules of the parameters and of the
images are repeated here, so that the figures committed with the tests bite without the files.
"""

import gc
import json
import os
import sys
import types
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# For the workers of pytest-xdist and the processes that tests start: they share the processor, and
# threads that wait for each other over small matrices take all of it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# TensorFlow's and pydantic's imports leave a million objects, which each full collection walks
# through: a tenth of the suite's time.
gc.set_threshold(50_000, 20, 20)


class _FirstTwo:
    """Stands for UMAP, whose import and compilation take 17 s: the plane of two features."""

    def __init__(self, **settings):
        pass

    def fit_transform(self, features):
        return np.asarray(features)[:, :2]


# Its own test, tests/evaluation/test_embedding.py, has the real one.
sys.modules["umap"] = types.ModuleType("umap")
sys.modules["umap"].UMAP = _FirstTwo

# A busy machine is no failure.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")

FIDELITY = Path(__file__).parents[2] / "shared" / "fidelity"


def authors_shapes(channels=(32, 64, 128, 256), shared=512, latent=256, regressor=(256, 128)):
    """Names and PyTorch shapes of the authors' tensors, in their order."""
    first, second, third, fourth = channels
    shapes = {}

    def add(name, *shape, bias):
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = (bias,)

    def norm(name, width):
        add(name, width, bias=width)
        shapes[f"{name}.running_mean"] = shapes[f"{name}.running_var"] = (width,)
        shapes[f"{name}.num_batches_tracked"] = ()

    for domain in ("synth", "natural"):
        before = 1
        for place, width in zip((0, 3, 6, 9), channels, strict=True):
            add(f"{domain}_reader.{place}", width, before, 5, 5, bias=width)
            before = width
    add("common_encoder.0", shared, fourth, 5, 5, bias=shared)
    add("fc1.0", latent, shared, bias=latent)
    add("fc2.0", latent, shared, bias=latent)
    add("fc3.0", shared, latent, bias=shared)
    add("common_decoder.1", shared, fourth, 5, 5, bias=fourth)
    norm("common_decoder.2", fourth)
    for domain in ("synth", "natural"):
        before = fourth
        for place, width, kernel in (0, third, 5), (3, second, 5), (6, first, 5), (9, first, 2):
            add(f"{domain}_writer.{place}", before, width, kernel, kernel, bias=width)
            norm(f"{domain}_writer.{place + 1}", width)
            before = width
        add(f"{domain}_writer.12", before, 1, 6, 6, bias=1)
    add("regressor.0", regressor[0], latent, bias=regressor[0])
    add("regressor.2", regressor[1], regressor[0], bias=regressor[1])
    add("regressor.4", 1, regressor[1], bias=1)
    return shapes


def ruled_tensor(k, name, shape):
    """Tensor number k by the rule, in which ``fc2`` halves its weight but not its bias."""
    size = int(np.prod(shape))
    u = 2 * np.random.Generator(np.random.PCG64(k)).random(size) - 1
    if name.endswith("num_batches_tracked"):
        return np.array(0, np.int64)
    if name.endswith("running_var"):
        values = 1 + 0.5 * u
    elif name.endswith("running_mean"):
        values = 0.1 * u
    elif len(shape) == 1:
        values = 0.1 * u + name.endswith("weight")
    else:
        upwards = name.split(".")[0] in ("common_decoder", "synth_writer", "natural_writer")
        fan = shape[0] * shape[2] * shape[3] / 4 if upwards else size / shape[0]
        values = u * np.sqrt(6 / fan) * (0.5 if name.startswith("fc2") else 1)
    return values.reshape(shape).astype(np.float32)


def ruled_tensors(**widths):
    return {
        name: ruled_tensor(k, name, shape)
        for k, (name, shape) in enumerate(authors_shapes(**widths).items())
    }


@pytest.fixture(scope="session")
def authors_tensors():
    """A function of widths that returns a whole state_dict by the rule."""
    return ruled_tensors


@pytest.fixture(scope="session")
def reference_images():
    """The four images of the reference, float32 [4, 128, 128], bit by bit."""
    n, row, column = np.meshgrid(*map(np.arange, (4, 128, 128)), indexing="ij")
    waves = np.sin(0.07 * (n + 1) * column) * np.cos(0.05 * (n + 2) * row)
    return (0.5 + 0.5 * waves).astype(np.float32)


@pytest.fixture(scope="session")
def reference_network():
    """Our Twin-VAE with the reference's parameters; not to be changed by a test."""
    from cellzoo.convert.checkpoint import set_weights_from_state_dict
    from cellzoo.models import TwinVAE
    from cellzoo.models.section import DOMAINS

    network = TwinVAE().build(DOMAINS)
    set_weights_from_state_dict(network, ruled_tensors())
    return network


@pytest.fixture(scope="session")
def network_outputs(reference_network, reference_images):
    """What our network makes of the four images, given to both halves."""
    domains = ("natural", "synthetic")
    return reference_network.predict(dict.fromkeys(domains, reference_images), verbose=0)


@pytest.fixture(scope="session")
def reference_outputs():
    """The authors' outputs."""
    file = FIDELITY / "twinvae_reference.npz"
    if not file.is_file():
        pytest.skip(f"no {file.name} in ../shared/fidelity beside the checkout")
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def reference_parameter_list():
    """The authors' list of tensors: index, name and shape of each."""
    file = FIDELITY / "twinvae_reference_parameters.json"
    if not file.is_file():
        pytest.skip(f"no {file.name} in ../shared/fidelity beside the checkout")
    return json.loads(file.read_text())


TINY_RECIPE = """\
# A model and images so small that a test can afford them.
name: tiny
data:
  natural: {source: folder, folder: cells}
augment: {crop: 1}
model:
  name: twinvae_spatial
  image_size: 16
  shared_channels: 2
  latent: 2
train: {batch: 4, epochs: 1, steps_per_epoch: 1}
quick:
  train: {epochs: 1}
"""


@pytest.fixture(scope="session")
def tiny_recipe():
    """Text of a recipe whose images lie in the folder ``cells`` where the command runs."""
    return TINY_RECIPE


@pytest.fixture(scope="session")
def write_cells():
    """A function that fills a folder with 12 images, 16 px wide, and their labels.csv."""
    import cv2

    def write(folder, images=12, size=16):
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(4)
        rows = ["image,count,split"]
        for k in range(images):
            cv2.imwrite(
                str(folder / f"{k:02d}.png"), random.integers(0, 256, (size, size), np.uint8)
            )
            split = ("train", "train", "validation", "test")[k % 4]
            rows.append(f"{k:02d}.png,{k % 5},{split}")
        (folder / "labels.csv").write_text("\n".join(rows) + "\n")
        return folder

    return write


@pytest.fixture(scope="session")
def write_bbbc005():
    """A function that fills a folder with 24 images named as BBBC005's, and their masks."""
    import cv2

    def write(folder, size=(32, 48)):
        random = np.random.default_rng(6)
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for k in range(24):
            count, stain = 1 + k // 2 % 4, 1 + k % 2
            name = f"A{count:02d}_C{count}_F1_s{1 + k // 8:02d}_w{stain}.png"
            mask = np.zeros(size, np.uint8)
            for cell in range(count):
                # Nowhere where a flip would make it another image of the set.
                at = (5 + 11 * cell + k // 8, 7 + 4 * (k // 8) + 2 * cell)
                cv2.circle(mask, at, 4, 255, -1)
            image = np.clip(0.6 * mask + random.normal(8, 5, size), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "images" / name), image)
            cv2.imwrite(str(folder / "masks" / name), mask)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A run folder whose model was never trained, but tells images apart. Not to be changed."""
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(TINY_RECIPE)
    recipe = load_recipe(folder / "tiny.yaml")
    run = Run.create(folder / "run", recipe)
    network = build_network(recipe)
    kernel, bias = network.get_layer("regressor").get_layer("cells").weights
    kernel.assign(10 * np.ones(kernel.shape))
    bias.assign([1.0])
    run.save_best(network)
    return run.path


@pytest.fixture(scope="session")
def run_cli():
    """A function of arguments that runs ``cellzoo`` in this process; stderr is kept apart."""
    from click.testing import CliRunner

    from cellzoo.cli import main

    def run(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)

    return run


@pytest.fixture(scope="session")
def contents():
    """A function that maps each file below a folder to its bytes, to see whether any changed.

    A lock is no content: its file stays, empty, where a process has worked.
    """
    from cellzoo.files import LOCK_FILE

    def of(folder):
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        return {file: file.read_bytes() for file in files if file.name != LOCK_FILE}

    return of
