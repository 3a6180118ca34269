"""Every network of the zoo: counts alike from run, SavedModel and server; nothing in unchecked."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from tensorflow.core.protobuf import saved_model_pb2

from cellzoo.commands.export import export
from cellzoo.counters.load import load_counter
from cellzoo.protocol.operations import check_operations
from cellzoo.recipe import load_recipe
from cellzoo.runs import Run, build_network
from cellzoo.serving.config import watch_models
from cellzoo.serving.server import Server, Settings
from cellzoo.training.fit import fit

SPATIAL = "{name: twinvae_spatial, image_size: 16, shared_channels: 2, latent: 2}"
FLAT = (
    "{name: twinvae, channels: [2, 3, 4, 5], shared_channels: 6, latent: 3, regressor: [4, 3], "
    "center: true}"
)
EFFICIENTNET = "{name: efficientnet, image_size: 32, weights: null}"
DCC = "{{name: dcc, image_size: [32, 48], channels: [2, 3, 4], pooling: 8, head: {}}}"
# Model, size of its images and whether there is a synthetic half.
MODELS = {
    "spatial": (SPATIAL, (16, 16), True),
    "flat": (FLAT, (128, 128), True),
    "efficientnet": (EFFICIENTNET, (32, 32), False),
    "regressor": (DCC.format("regressor"), (32, 48), False),
    "additive": (DCC.format("additive"), (32, 48), False),
}
# Factors on kernels, without which all images would count alike.
CONTRAST = {"spatial": 3, "efficientnet": 1.5, "regressor": 2}
# Of the others each image is counted as it is.
VIEWS = {"spatial": 8, "additive": 4}
RECIPE = """\
name: {name}
data:
  natural: {{source: folder, folder: {folder}, size: {reading}}}
{synthetic}
augment: {{crop: 1}}
model: {model}
train: {{batch: 4, epochs: 1, steps_per_epoch: 1}}
count: {{test_time_augmentation: {views}}}
"""
SYNTHETIC = (
    "  synthetic: {preset: bf, images: 20, background: null, margins: [0, 0, 0, 0], radius: [2, 3]}"
)


SLOW = ("efficientnet", "regressor")  # each half a minute on an idle processor


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MODELS
    ],
)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def run(name, tmp_path_factory, write_cells):
    """A run folder of a small network that tells images apart."""
    model, size, synthetic = MODELS[name]
    folder = tmp_path_factory.mktemp(name)
    # The Twin-VAE is trained, with labels enough for an interval.
    images = write_cells(folder / "cells", images=80 if name == "spatial" else 4, size=size[0])
    reading = "resize" if name in ("flat", "efficientnet") else "error"
    (folder / "recipe.yaml").write_text(
        RECIPE.format(
            name=name, folder=images, model=model, reading=reading,
            synthetic=SYNTHETIC if synthetic else "", views=VIEWS.get(name, 1),
        )  # fmt: skip
    )
    recipe = load_recipe(folder / "recipe.yaml")
    if name == "spatial":
        run = fit(recipe, folder / "run")
        network = run.load_network()
    else:
        run = Run.create(folder / "run", recipe)
        network = build_network(recipe)
    random = np.random.default_rng(7)
    for weight in network.trainable_weights:
        if weight.path.endswith(("head/kernel", "bias")):
            weight.assign(random.normal(0, 0.3, weight.shape))
        elif weight.path.endswith("kernel"):
            weight.assign(weight * CONTRAST.get(name, 1))
    run.save_best(network)
    return run.path


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Version 1 of the run. Not to be changed."""
    return export(run, tmp_path_factory.mktemp("saved_models"))


@pytest.fixture(scope="module")
def address(exported):
    """Where the export is served."""
    settings = Settings(grpc_port=0, rest_port=None)
    server = Server(watch_models(exported.parents[1]), settings)
    yield f"127.0.0.1:{server.grpc_port}/{exported.parent.name}"
    server.stop()


@pytest.fixture(scope="module")
def images(name, tmp_path_factory):
    """Images of all types, more than a batch of one; one of another size."""
    folder, (height, width) = tmp_path_factory.mktemp("images"), MODELS[name][1]
    random = np.random.default_rng(3)

    def draw(top, dtype):
        """Discs on noise."""
        pixels = random.uniform(0, 0.3 * top, (height, width))
        for _ in range(random.integers(1, 9)):
            place = int(random.integers(width)), int(random.integers(height))
            cv2.circle(pixels, place, 4, 0.9 * top, -1)
        return pixels.astype(dtype)

    for k in range(5 if name in ("flat", "efficientnet") else 67):
        cv2.imwrite(str(folder / f"a{k:02d}.png"), draw(255, np.uint8))
    for k in range(3):
        cv2.imwrite(str(folder / f"b{k}.png"), draw(65535, np.uint16))
    tifffile.imwrite(folder / "c.tif", draw(1, np.float32))
    return folder


def table(run_cli, images, model, out):
    result = run_cli("count", images, "--model", model, "-o", out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [key for key in rows[0] if key not in ("version", "seconds")]
    return [[row[key] for key in kept] for row in rows], result.stderr, result.exit_code


def test_served_equals_local(name, run, exported, images, address, run_cli, tmp_path):
    tables = [
        table(run_cli, images, model, tmp_path / f"{k}.csv")
        for k, model in enumerate((run, exported, address))
    ]
    assert tables[0] == tables[1] == tables[2]
    rows, said, code = tables[0]
    assert (said, code) == ("", 0)
    assert len({row[3] for row in rows}) > len(rows) / 2  # the counts tell images apart
    assert all(bool(row[4]) == (name == "spatial") for row in rows)  # intervals


def test_counts_are_bit_equal_on_one_machine(name, run, exported, address):
    counters = [load_counter(str(model)) for model in (run, exported, address)]
    random = np.random.default_rng(0)
    for pixels in (
        random.integers(0, 256, (9, *MODELS[name][1])).astype(np.uint8),
        random.integers(0, 65536, (1, *MODELS[name][1])).astype(np.uint16),
        random.random((3, *MODELS[name][1]), np.float32),
    ):
        scaled = pixels.dtype == np.float32
        given = [counter.count(pixels, scaled) for counter in counters]
        for counts in given[1:]:
            for column in ("raw", "low", "high"):
                np.testing.assert_array_equal(getattr(counts, column), getattr(given[0], column))


# Nothing reaches a convolution unchecked

# With a tensor of an unexpected rank these may end the process, or take memory without limit.
TENDER = {
    *("Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "MaxPool", "AvgPool"),
    *("MatMul", "BatchMatMulV2", "Einsum", "BiasAdd", "FusedBatchNormV3", "Tile", "Transpose"),
    *("DecodePng", "DecodeJpeg", "GatherV2"),
}  # fmt: skip
CALLS = {
    "PartitionedCall": ("f",), "StatefulPartitionedCall": ("f",), "While": ("cond", "body"),
    "StatelessWhile": ("cond", "body"), "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
}  # fmt: skip


def functions_of(graph):
    """The functions that a graph may call."""
    (found,) = [value for field, value in graph.ListFields() if field.name == "library"]
    return found.function


def reached(graph, start):
    """Types of the operations that an input comes to before any check has let it pass.

    Follows the data from the placeholder ``start`` through the functions that are called. An
    operation that waits for an Assert is a gate.
    """
    functions = {function.signature.name: function for function in functions_of(graph)}
    types, seen = set(), set()

    def follow(nodes, names):
        """Which of the nodes' names the data comes to; notes the types on the way."""
        kinds = {node.name: node.op for node in nodes}
        known = set(names)
        while True:
            before = len(known)
            for node in nodes:
                data = [i for i in node.input if not i.startswith("^")]
                places = [k for k, i in enumerate(data) if i.split(":")[0] in known]
                waits = {kinds.get(i[1:]) for i in node.input if i.startswith("^")}
                if not places or "Assert" in waits:
                    continue
                types.add(node.op)
                known.add(node.name)
                for attribute in CALLS.get(node.op, ()):
                    shift = 1 if "If" in node.op else 0
                    enter(node.attr[attribute].func.name, [k - shift for k in places if k >= shift])
            if len(known) == before:
                return

    def enter(name, places):
        if (name, tuple(places)) in seen or not places:
            return
        seen.add((name, tuple(places)))
        function = functions[name]
        follow(function.node_def, [function.signature.input_arg[k].name for k in places])

    follow(graph.node, [start])
    return types


def graph_of(folder):
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0]


def all_types(graph):
    nodes = [*graph.node, *(n for f in functions_of(graph) for n in f.node_def)]
    return {node.op for node in nodes}


def test_no_input_of_any_signature_reaches_a_convolution_unchecked(name, exported):
    graph = graph_of(exported)
    signatures = {k: s for k, s in graph.signature_def.items() if not k.startswith("__")}
    expected = {"serving_default", "uint8", "uint16", "unit", "encoded", "metadata"}
    expected |= {"spatial": {"embedding"}, "flat": {"embedding"}}.get(name, set())
    expected |= {"mask"} if name in ("regressor", "additive") else set()
    assert set(signatures) == expected
    assert {"Conv2D", "DecodePng"} <= all_types(graph.graph_def)
    for key, signature in signatures.items():
        (tensor,) = signature.inputs.values()
        types = reached(graph.graph_def, tensor.name.split(":")[0])
        assert types & TENDER == set(), key
        # The walk did come to the checks. Any string gives the metadata: they need none but a rank.
        assert ("Assert" in types) == (key != "metadata"), key
        assert "EnsureShape" in types, key


def test_no_export_needs_to_be_trusted(exported):
    check_operations(exported)


def test_the_walk_finds_what_is_unchecked(tmp_path):
    """Else the test above would show nothing."""

    class Careless(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None], tf.float32, name="images")])
        def count(self, images):
            size = tf.shape(images)
            tf.debugging.Assert(size[0] > 0, [size])  # nothing waits for it
            maps = tf.nn.conv2d(images[..., None], tf.ones([3, 3, 1, 1]), 1, "SAME")
            return {"count": tf.cond(size[0] > 9, lambda: maps, lambda: tf.tile(images, size))}

    module = Careless()
    tf.saved_model.save(module, str(tmp_path), signatures=module.count)
    graph = graph_of(tmp_path)
    (tensor,) = graph.signature_def["serving_default"].inputs.values()
    types = reached(graph.graph_def, tensor.name.split(":")[0])
    assert {"Conv2D", "Tile"} <= types


def test_a_classical_counter_says_why_it_is_not_exported(tmp_path, write_cells, run_cli):
    images = write_cells(tmp_path / "cells")
    recipe = Path(__file__).parents[2] / "recipes" / "brightness.yaml"
    natural = f"{{source: folder, folder: {images}}}"
    settings = (f"data.natural={natural}", "model.image_size=16")
    run = fit(load_recipe(recipe, settings), tmp_path / "run")
    result = run_cli("export", run.path, "--to", tmp_path / "saved")
    assert result.exit_code == 1
    assert "holds brightness, which is no network and cannot become a SavedModel" in result.stderr
    assert not (tmp_path / "saved").exists()
