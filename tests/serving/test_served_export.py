"""What `cellzoo export` writes, behind the embedded server, counts as the run folder does."""

import csv
import json

import cv2
import grpc
import numpy as np
import pytest
import tensorflow as tf
import tifffile

from cellzoo.commands.count import HEADER
from cellzoo.commands.export import TEST_VECTOR_FILE, export
from cellzoo.counters.connection import parse_address
from cellzoo.counters.load import load_counter
from cellzoo.counters.preprocessing import METADATA_FILE
from cellzoo.counters.served import ServedCounter
from cellzoo.errors import UserError
from cellzoo.images import to_unit
from cellzoo.protocol import messages
from cellzoo.protocol.tensors import TYPES, from_message, to_message
from cellzoo.serving.config import BASE_PATH, read_model_config, watch_models
from cellzoo.serving.servable import Servable
from cellzoo.serving.server import Server, Settings
from cellzoo.trust.out_of_distribution import OutOfDistribution


@pytest.fixture(scope="module")
def models(tiny_run, read_otherwise, tmp_path_factory):
    """Folder of the exports ``tiny`` and ``read_otherwise``. Not to be changed."""
    folder = tmp_path_factory.mktemp("saved_models")
    export(tiny_run, folder)
    export(read_otherwise, folder)
    return folder


@pytest.fixture(scope="module")
def port(models):
    """Of the server of these models."""
    server = Server(watch_models(models), Settings(grpc_port=0, rest_port=None))
    yield server.grpc_port
    server.stop()


@pytest.fixture(scope="module")
def read_otherwise(tiny_run, tiny_recipe, tmp_path_factory):
    """The tiny run with resizing, grey levels, axes and channel of its own."""
    from cellzoo.recipe import load_recipe
    from cellzoo.runs import Run, build_network

    folder = tmp_path_factory.mktemp("read")
    file = folder / "recipe.yaml"
    reading = "folder: cells, size: resize, intensity: [10, 300], axes: TYX, channel: 1}"
    text = tiny_recipe.replace("folder: cells}", reading)
    file.write_text(text.replace("name: tiny", "name: read_otherwise"))
    recipe = load_recipe(file)
    run = Run.create(folder / "run", recipe)
    network = build_network(recipe)
    network.set_weights(load_counter(str(tiny_run)).network.get_weights())
    run.save_best(network)
    interval = {"constant": 1.5, "per_cell": 0.7, "images": 40, "groups": 4}
    run.write_json("report/validation.json", {"interval": interval})
    seen = to_unit(np.random.default_rng(1).integers(0, 256, (60, 16, 16), np.uint8), (10, 300))
    run.keep_out_of_distribution(OutOfDistribution.fit(seen, np.arange(60), seen[:0]))
    return run.path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Types, sizes, a stack that does not name its axes, colour; some that cannot be counted."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(3)
    for k in range(66):  # more than a batch
        cv2.imwrite(str(folder / f"a{k:02d}.png"), random.integers(0, 256, (16, 16), np.uint8))
    for k, size in enumerate([(16, 16), (16, 16), (12, 40), (12, 40), (33, 9)]):
        pixels = random.integers(0, 65536, size, np.uint16)
        cv2.imwrite(str(folder / f"b{k}.png"), pixels)
        tifffile.imwrite(folder / f"c{k}.tif", random.random(size, np.float32))
        tifffile.imwrite(folder / f"d{k}.tif", (pixels // 256).astype(np.uint8))
    tifffile.imwrite(folder / "double.tif", 400 * random.random((16, 16)))
    stack = random.integers(0, 500, (5, 16, 16), np.uint16)
    tifffile.imwrite(folder / "stack.tif", stack, photometric="minisblack")
    cv2.imwrite(str(folder / "colour.png"), random.integers(0, 256, (16, 16, 3), np.uint8))
    holed = random.random((16, 16), np.float32)
    holed[3, 3] = np.nan
    tifffile.imwrite(folder / "holed.tif", holed)
    cv2.imwrite(str(folder / "tiny.png"), np.zeros((4, 4), np.uint8))
    (folder / "broken.png").write_bytes((folder / "a00.png").read_bytes()[:60])
    return folder


KEPT = [key for key in HEADER if key not in ("version", "seconds")]
ERROR, FLAG = KEPT.index("error"), KEPT.index("flag")


def table(run_cli, out, *arguments):
    result = run_cli("count", *arguments, "-o", out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [[row[key] for key in KEPT] for row in rows], result


@pytest.mark.parametrize(("name", "refused"), [("tiny", 15), ("read_otherwise", 3)])
def test_served_equals_local(name, refused, models, images, port, run_cli, request, tmp_path):
    run = request.getfixturevalue("tiny_run" if name == "tiny" else name)
    ways = {
        "run": run, "saved": models / name, "served": f"127.0.0.1:{port}/{name}"
    }  # fmt: skip
    tables, said = {}, {}
    for way, model in ways.items():
        tables[way], result = table(run_cli, tmp_path / f"{way}.csv", images, "--model", model)
        said[way] = result.stderr
        assert result.exit_code == 1
    assert tables["saved"] == tables["served"] and said["saved"] == said["served"]
    rows = tables["saved"]
    for row, of_run in zip(rows, tables["run"], strict=True):
        if " px and tiny takes " in row[ERROR]:  # what the run folder counts in tiles
            assert float(of_run[3]) >= 0 and not of_run[ERROR]
        else:
            assert of_run == row
    if name != "tiny":
        assert said["run"] == said["saved"]
    assert sum(bool(row[ERROR]) for row in rows) == refused, [row[0] for row in rows if row[ERROR]]
    # The noise that the first files hold is what was seen in training.
    noise, others = rows[:66], [row for row in rows[66:] if not row[ERROR]]
    flagged = [sum(bool(row[FLAG]) for row in part) for part in (noise, others)]
    widths = {float(row[5]) - float(row[3]) for row in rows if row[5]}
    if name == "tiny":  # of which nothing is known
        assert flagged == [0, 0] and not widths
    else:
        assert flagged[0] <= 4 and flagged[1] >= 10 and len(widths) > 60
    assert len({row[3] for row in rows}) > 60  # the counts tell images apart
    frames = [row for row in rows if row[0].endswith("stack.tif")]
    assert len(frames) == (1 if name == "tiny" else 5)


def test_metadata_are_the_same_over_the_network(models, port):
    local = load_counter(str(models / "read_otherwise"))
    remote = load_counter(f"127.0.0.1:{port}/read_otherwise")
    assert remote.preprocessing == local.preprocessing
    assert (remote.axes, remote.channel) == ("TYX", 1)
    servable = Servable("tiny", 1, models / "tiny" / "1")
    text = (models / "tiny" / "1" / METADATA_FILE).read_bytes()
    asked = {"asked": np.array([b"", b"x"], object)}
    assert servable.run("metadata", asked)["metadata"].tolist() == [text, text]


def test_an_export_of_an_earlier_time_says_what_it_is(
    tiny_run, models, serve, tmp_path, monkeypatch
):
    monkeypatch.setattr("cellzoo.commands.export.METADATA_SIGNATURE", "facts")
    export(tiny_run, tmp_path)
    remote = load_counter(f"127.0.0.1:{serve(tmp_path).grpc_port}/tiny")
    assert remote.preprocessing == load_counter(str(models / "tiny")).preprocessing


def test_metadata_of_another_time_are_refused_in_a_sentence(port, monkeypatch):
    address = f"127.0.0.1:{port}/tiny"
    metadata = {"preprocessing": {"colour": 1}}
    monkeypatch.setattr("cellzoo.counters.served.json.loads", lambda text: metadata)
    with pytest.raises(UserError, match="exported by another version of cellzoo"):
        ServedCounter(parse_address(address))


def test_one_image_counts_as_among_others(port):
    remote = load_counter(f"127.0.0.1:{port}/tiny")
    pixels = np.random.default_rng(5).integers(0, 256, (40, 16, 16), np.uint8)
    alone = [remote.count(image[None]).raw[0] for image in pixels]
    # On some processors the size of the batch changes the last bit.
    np.testing.assert_allclose(alone, remote.count(pixels).raw, rtol=3e-7)


def predict(port, signature, tensor):
    """The outputs of ``tiny``, or the RpcError."""
    request = messages.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", signature
    request.inputs["images"].CopyFrom(tensor)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=messages.PredictRequest.SerializeToString,
            response_deserializer=messages.PredictResponse.FromString,
        )
        reply = call(request, timeout=60)
    return {key: from_message(tensor) for key, tensor in reply.outputs.items()}


def test_the_test_vector_is_answered_as_stored(models, port):
    with np.load(models / "tiny" / "1" / TEST_VECTOR_FILE) as vector:
        arrays = dict(vector)
    metadata = json.loads((models / "tiny" / "1" / METADATA_FILE).read_text())
    for name in set(metadata["signatures"]) - {"metadata"}:
        if name == "encoded":
            files = [arrays[f"encoded/images/{k}"].tobytes() for k in range(2)]
            images = np.array(files, object)
        else:
            images = arrays[f"{name}/images"]
        answers = predict(port, name, to_message(images))
        assert len(answers) == (1 if name == "embedding" else 3)
        for key, answer in answers.items():
            np.testing.assert_array_equal(answer, arrays[f"{name}/{key}"])


@pytest.fixture(scope="module")
def session(models):
    """The graph of ``tiny`` without any check before it, as TensorFlow Serving runs it."""
    from tensorflow.core.protobuf import config_pb2

    opened = tf.compat.v1.Session(graph=tf.Graph())
    with opened.graph.as_default():
        folder = str(models / "tiny" / "1")
        signatures = tf.compat.v1.saved_model.load(opened, ["serve"], folder).signature_def

    def run(name, images):
        signature = signatures[name]
        options = config_pb2.CallableOptions(feed=[signature.inputs["images"].name])
        options.fetch.extend(info.name for info in signature.outputs.values())
        return opened._make_callable_from_options(options)(images)

    yield run
    opened.close()


NOISE = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
PNG = cv2.imencode(".png", NOISE)[1].tobytes()
PIXELS = ("serving_default", "uint8", "uint16", "unit", "embedding")
SHAPES = {
    **{f"rank {rank}": ((16,) * rank, "shape") for rank in (0, 1, 2, 4, 5)},
    "no image": ((0, 16, 16), "the batch holds no image"),
    "no height": ((1, 0, 16), "8 to 16384 pixels"),
    "no width": ((1, 16, 0), "8 to 16384 pixels"),
    "4 px": ((1, 4, 4), "8 to 16384 pixels"),
    "absurdly wide": ((1, 8, 16385), "8 to 16384 pixels"),
    "another size": ((2, 16, 24), "images must be 16 x 16 pixels"),
}
FILES = {
    "undecodable": ([PNG[:60]], "PNG|libpng|IDAT|decode"),
    "text": ([b"no picture, " * 5], "neither PNG nor JPEG"),
    "empty": ([b""], "no whole picture"),
    "one of two": ([PNG, b"\xff\xd8\xff" + 60 * b"x"], "JPEG|jpeg"),
    "no file": ([], "the batch holds no image"),
    "rank 0": (PNG, "shape"),
    "rank 2": ([[PNG]], "shape"),
}


def bad_tensors():
    """Signature, tensor and what the graph says of it."""
    for name in PIXELS:
        dtype = name if name.startswith("uint") else "float32"
        for shape, message in SHAPES.values():
            yield name, np.zeros(shape, dtype), message
    for name in ("serving_default", "unit", "embedding"):
        for value, message in ((np.nan, "NaN or"), (np.inf, "NaN or"), (1.5, "must lie in")):
            yield name, np.full((2, 16, 16), value, np.float32), message
    for files, message in FILES.values():
        yield "encoded", np.array(files, object), message


def test_the_exported_graph_itself_refuses_what_it_cannot_count(session):
    for name, tensor, message in bad_tensors():
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            session(name, tensor)
    assert len(session("uint8", NOISE[None])) == 3


def test_the_server_refuses_what_it_cannot_count(port):
    wrong_types = [
        (name, np.zeros((1, 16, 16), kind.numpy), "Expects arg")
        for name in ("serving_default", "uint16", "encoded")
        for kind in TYPES.values()
        if kind.numpy not in (object, np.dtype(np.float32), np.dtype(np.uint16))
    ]
    for name, tensor, message in [*bad_tensors(), *wrong_types]:
        with pytest.raises(grpc.RpcError, match=message) as caught:
            predict(port, name, to_message(tensor))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, (name, message)
        assert "{{" not in caught.value.details() and "[Op:" not in caught.value.details()
    assert predict(port, "uint8", to_message(NOISE[None]))["count"].shape == (1,)


def test_an_export_enters_the_servers_configuration(tiny_run, run_cli, tmp_path, contents):
    serving, models = tmp_path / "serving", tmp_path / "models"
    result = run_cli("export", tiny_run, "--to", models, "--serving", serving)
    assert result.exit_code == 0, result.stderr
    (model,) = read_model_config(serving / "models.config")
    # Where the manifests mount the exports, there lies what was written.
    assert model.base_path == f"{BASE_PATH}/tiny"
    assert (models / model.base_path.removeprefix(f"{BASE_PATH}/") / "1").is_dir()
    edited = (serving / "models.config").read_text().replace(
        "  }\n", '    version_labels { key: "canary" value: 1 }  # ours }\n  }\n', 1
    )
    (serving / "models.config").write_text("# Mine {\n" + edited + "# the end }\n")
    before = (serving / "models.config").read_text()
    assert run_cli("export", tiny_run, "--to", models, "--serving", serving).exit_code == 0
    assert (serving / "models.config").read_text() == before
    (serving / "models.config").write_text("models {")
    before = contents(models)
    result = run_cli("export", tiny_run, "--to", models, "--serving", serving)
    assert result.exit_code == 1 and f"{serving / 'models.config'} is no" in result.stderr
    assert contents(models) == before
