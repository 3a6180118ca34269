"""The graph that counts scales and resizes as training does, and lets no bad tensor pass."""

import struct

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from cellzoo.counters.graph import CountingGraph, interval_ends, resize, scale
from cellzoo.counters.preprocessing import Preprocessing
from cellzoo.images import resize as resize_image
from cellzoo.images import to_unit
from cellzoo.trust.intervals import Interval

SIGNATURES = ("serving_default", "uint8", "uint16", "unit", "encoded", "embedding", "mask")


def small_network(size):
    """A convolution whose sum is the count, with all outputs that make signatures."""
    image = keras.Input(size, name="natural")
    kernel = keras.initializers.RandomUniform(-0.01, 0.03, seed=1)  # more cells than none
    convolution = keras.layers.Conv2D(2, 3, padding="same", kernel_initializer=kernel)
    map_ = convolution(keras.ops.expand_dims(image, -1))
    outputs = {
        "natural_count": keras.ops.sum(map_, axis=(1, 2, 3)),
        "natural_mean": keras.ops.mean(map_, axis=(1, 2)),
        "natural_mask": keras.ops.sigmoid(map_[..., 0]),
    }
    return keras.Model({"natural": image}, outputs)


def graph_of(interval=None, **preprocessing):
    def threshold(probability):
        return tf.cast(probability > 0.5, tf.float32)

    return CountingGraph(
        small_network((16, 24)), Preprocessing((16, 24), **preprocessing), interval, threshold
    )


@pytest.fixture(scope="module")
def strict():
    return graph_of(interval=Interval(0.25, 3.0))


@pytest.fixture(scope="module")
def resizing():
    return graph_of(resize=True)


side = st.integers(1, 90)


@settings(max_examples=40)
@given(side, side, side, side, st.integers(0, 1000))
def test_resizes_as_training_does(height, width, new_height, new_width, seed):
    images = np.random.default_rng(seed).random((2, height, width), np.float32)
    expected = np.stack([resize_image(image, (new_height, new_width)) for image in images])
    resized = resize(tf.constant(images), new_height, new_width)
    np.testing.assert_allclose(resized, expected, atol=5e-6)  # OpenCV rounds its places to float32


def test_resized_grey_levels_never_leave_their_range():
    flat = np.full((1, 37, 53), 0.1, np.float32)
    assert set(np.unique(resize(tf.constant(flat), 11, 97))) == {np.float32(0.1)}


@pytest.mark.parametrize("intensity", ["dtype", (10.0, 200.5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_scales_bit_for_bit_as_training_does(dtype, intensity):
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[None]
    # What is done in a graph is optimised, which may round otherwise.
    in_graph = tf.function(lambda images: scale(images, intensity) * 2, autograph=False)
    np.testing.assert_array_equal(
        in_graph(tf.constant(levels)), 2 * to_unit(levels, intensity)
    )


def test_scales_floats_between_black_and_white():
    levels = np.random.default_rng(0).uniform(-50, 300, (9, 9)).astype(np.float32)
    np.testing.assert_allclose(
        scale(tf.constant(levels), (10.0, 200.5)), to_unit(levels, (10.0, 200.5)), atol=1e-7
    )


def test_intervals_are_around_the_count_and_never_below_nothing(strict):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 24)).astype(np.uint8)
    answer = {key: value.numpy() for key, value in strict.count_uint8(images).items()}
    half = np.sqrt(0.25 + 3 * np.maximum(answer["count"], 0))
    np.testing.assert_allclose(answer["count_low"], np.maximum(answer["count"] - half, 0), 1e-6)
    np.testing.assert_allclose(answer["count_high"], np.maximum(answer["count"] + half, 0), 1e-6)
    low, high = Interval(0.25, 3.0).ends(answer["count"])
    np.testing.assert_array_equal((low, high), (answer["count_low"], answer["count_high"]))
    assert len(set(high - low)) == 3
    nothing = strict.count_uint8(np.zeros((1, 16, 24), np.uint8))
    assert [nothing[key].numpy()[0] for key in ("count", "count_low", "count_high")] == [0, 0, 0.5]
    assert {value.dtype.name for value in answer.values()} == {"float32"}


def weighing_network(size):
    """A network whose count is the pixels' sum, each weighed by ten times its row plus its column.

    Its mask is the image.
    """
    image = keras.Input(size, name="natural")
    weights = 10.0 * np.arange(size[0])[:, None] + np.arange(size[1])
    outputs = {"natural_count": keras.ops.sum(image * weights, (1, 2)), "natural_mask": image}
    return keras.Model({"natural": image}, outputs)


@pytest.mark.parametrize(
    ("size", "orientations", "expected"),
    [
        # Row 2, column 5 of 8 rows, 12 columns: 20 + 5; row 5 upside down, column 6 mirrored.
        ((8, 12), 1, 25),
        ((8, 12), 4, (25 + 26 + 55 + 56) / 4),
        # Of 8 rows, 8 columns: column 2 mirrored. Turned, row and column change places.
        ((8, 8), 4, (25 + 22 + 55 + 52) / 4),
        ((8, 8), 8, (25 + 22 + 55 + 52 + 52 + 22 + 55 + 25) / 8),
    ],
)
def test_the_count_is_the_mean_over_orientations(size, orientations, expected):
    image = np.zeros((1, *size), np.uint8)
    image[0, 2, 5] = 255
    batch = np.concatenate([image, 0 * image])
    graph = CountingGraph(
        weighing_network(size), Preprocessing(size), Interval(4.0, 0.0), lambda p: p, orientations
    )
    expected = np.array([expected, 0])
    answers = [
        graph.count_uint8(batch),
        graph.count_uint16(257 * batch.astype(np.uint16)),
        graph.count_unit((batch / 255).astype(np.float32)),
        graph.count_float32((batch / 255).astype(np.float32)),
        graph.count_encoded(np.array([png(pixels) for pixels in batch], object)),
    ]
    for answer in answers:
        np.testing.assert_allclose(answer["count"], expected, rtol=1e-6)
        np.testing.assert_allclose(answer["count_high"], expected + 2, rtol=1e-6)
    mask = graph.segment((batch / 255).astype(np.float32))["probability"]
    np.testing.assert_array_equal(mask, (batch / 255).astype(np.float32))


CALLS = {"PartitionedCall", "StatefulPartitionedCall"}  # of the network, a function of its own


def test_one_orientation_is_the_network_and_nothing_more(strict):
    graph = strict.count_uint8.get_concrete_function().graph
    assert sum(op.type in CALLS for op in graph.get_operations()) == 1
    assert str(graph.as_graph_def()).count('op: "Conv2D"') == 1  # in all functions together
    network = small_network((16, 24))
    images = np.random.default_rng(0).random((5, 16, 24), np.float32)
    plain = CountingGraph(network, Preprocessing((16, 24)), None, lambda p: p)
    expected = tf.function(network)({"natural": images})["natural_count"]
    np.testing.assert_array_equal(plain.count_unit(images)["count"], expected)


def test_orientations_are_counted_one_after_the_other():
    graph = CountingGraph(small_network((16, 24)), Preprocessing((16, 24)), None, lambda p: p, 4)
    operations = graph.count_uint8.get_concrete_function().graph.get_operations()
    counters = [op for op in operations if op.type in CALLS]
    assert len(counters) == 4

    def earlier(op):
        """All operations that one waits for."""
        found, waiting = set(), [op]
        while waiting:
            before = waiting.pop()
            found.add(before.name)
            waiting += [i.op for i in before.inputs if i.op.name not in found]
            waiting += [c for c in before.control_inputs if c.name not in found]
        return found

    for counter, following in zip(counters, counters[1:], strict=False):
        assert counter.name in earlier(following)


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_files_count_as_their_pixels(resizing):
    random = np.random.default_rng(0)
    eight = random.integers(0, 256, (20, 30)).astype(np.uint8)
    sixteen = random.integers(0, 65536, (16, 24)).astype(np.uint16)
    colour = np.dstack([eight] * 3)
    jpeg = cv2.imencode(".jpg", eight)[1]
    files = [png(eight), png(sixteen), png(colour), jpeg.tobytes()]
    counts = resizing.count_encoded(np.array(files, object))["count"].numpy()
    pixels = [eight, sixteen, eight, cv2.imdecode(jpeg, cv2.IMREAD_UNCHANGED)]
    functions = resizing.local_functions
    expected = [functions[p.dtype.name](p[None])["count"].numpy()[0] for p in pixels]
    np.testing.assert_allclose(counts, expected, rtol=1e-5, atol=1e-4)


GREY = np.zeros((16, 24), np.uint8)
BAD_FILES = {
    "none": [],
    "empty": [b""],
    "text": [b"this is not a picture, however long it may be"],
    "cut": [png(np.random.default_rng(0).integers(0, 256, GREY.shape).astype(np.uint8))[:200]],
    "one of two": [png(GREY), b"\xff\xd8\xff" + 60 * b"x"],
    "colour": [png(np.dstack([GREY, GREY, GREY + 9]))],
    "other size": [png(np.zeros((17, 24), np.uint8))],
    "tiny": [png(np.zeros((4, 4), np.uint8))],
    "huge by its header": [png(GREY)[:16] + b"\x7f\xff\xff\xff" * 2 + png(GREY)[24:]],
    "one bit": [cv2.imencode(".png", GREY, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()],
}


def jpeg_of(height, width):
    """A JPEG of other sides than its header says."""
    content = cv2.imencode(".jpg", GREY)[1].tobytes()
    place = content.index(b"\xff\xc0") + 5  # behind marker, length and bits per sample
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([png(np.zeros((64, 65), np.uint8))] * 2, "more than 8000 pixels"),
        ([png(GREY), jpeg_of(65000, 65000)], "height and width must be 8 to 16384"),
        ([png(GREY), jpeg_of(1000, 9)], "more than 8000 pixels"),
        ([png(GREY)[:16] + struct.pack(">II", 16385, 9) + png(GREY)[24:]], "8 to 16384"),
        ([png(GREY)[:16] + struct.pack(">II", 9, 0) + png(GREY)[24:]], "8 to 16384"),
    ],
)
def test_files_that_announce_too_much_are_refused_unread(monkeypatch, files, message):
    monkeypatch.setattr("cellzoo.counters.graph.MAX_PIXELS", 8000)
    graph = graph_of(resize=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph.count_encoded(np.array(files, object))
    assert graph.count_encoded(np.array([png(GREY)] * 20, object))["count"].shape == (20,)


def test_too_many_pixels_are_refused(monkeypatch):
    monkeypatch.setattr("cellzoo.counters.graph.MAX_PIXELS", 8000)
    graph = graph_of(resize=True)
    for shape, fits in (((2, 50, 80), True), ((3, 50, 54), False), ((1, 8, 1001), False)):
        images = np.zeros(shape, np.uint8)
        if fits:
            assert graph.count_uint8(images)["count"].shape == shape[:1]
        else:
            with pytest.raises(tf.errors.InvalidArgumentError, match="more than 8000 pixels"):
                graph.count_uint8(images)


@pytest.mark.parametrize("name", BAD_FILES)
def test_refuses_files(strict, name):
    with pytest.raises(tf.errors.InvalidArgumentError):
        strict.count_encoded(np.array(BAD_FILES[name], object))


@pytest.mark.parametrize("values", [np.nan, np.inf, -0.01, 1.01])
@pytest.mark.parametrize("name", ["serving_default", "embedding", "mask"])
def test_refuses_values(strict, name, values):
    images = np.full((2, 16, 24), 0.5, np.float32)
    images[1, 3, 3] = values
    with pytest.raises(tf.errors.InvalidArgumentError, match="must lie in|NaN or infinity"):
        strict.signatures[name].function(images)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_intensity_makes_a_number_of_none(value):
    images = np.full((2, 16, 24), 50, np.float32)
    images[1, 3, 3] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN or infinity"):
        graph_of(intensity=(10.0, 200.0)).count_float32(images)


@pytest.fixture(scope="module")
def session(strict, tmp_path_factory):
    """A function of signature and images that runs them as TensorFlow Serving does.

    A session, unlike Python's functions, does not compare shapes with the signature.
    """
    folder = tmp_path_factory.mktemp("graph") / "1"
    functions = {name: entry.function for name, entry in strict.signatures.items()}
    tf.saved_model.save(strict, str(folder), signatures=functions)
    opened = tf.compat.v1.Session(graph=tf.Graph())
    with opened.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(opened, ["serve"], str(folder))

    def run(name, images):
        signature = loaded.signature_def[name]
        fetched = {key: info.name for key, info in signature.outputs.items()}
        # A feed that TensorFlow Serving's C++ session would take: Python's refuses wrong ranks.
        callable_ = opened._make_callable_from_options(_options(signature, fetched))
        return dict(zip(fetched, callable_(images), strict=True))

    yield run
    opened.close()


def _options(signature, fetched):
    from tensorflow.core.protobuf import config_pb2

    options = config_pb2.CallableOptions(feed=[signature.inputs["images"].name])
    options.fetch.extend(fetched.values())
    return options


SHAPES = [
    *[(16,) * rank for rank in (0, 1, 2, 4, 5)],
    (0, 16, 24), (1, 0, 24), (1, 16, 0), (1, 4, 4), (1, 17, 24), (1, 24, 16), (1, 3, 100000),
]  # fmt: skip
DTYPES = {"uint8": np.uint8, "uint16": np.uint16, "encoded": object}


@pytest.mark.parametrize("name", SIGNATURES)
def test_no_shape_but_the_right_one_passes(session, name):
    if name == "encoded":
        for shape in ((), (0,), (1, 1), (1, 1, 1)):
            with pytest.raises(tf.errors.InvalidArgumentError):
                session(name, np.full(shape, png(GREY), object))
        assert session(name, np.array([png(GREY)], object))["count"].shape == (1,)
        return
    for shape in SHAPES:
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            session(name, np.zeros(shape, DTYPES.get(name, np.float32)))
        assert "batch" in str(caught.value) or "pixels" in str(caught.value) or (
            "not compatible with expected shape" in str(caught.value)
        ), shape
    assert session(name, np.zeros((2, 16, 24), DTYPES.get(name, np.float32)))


@pytest.mark.parametrize("name", SIGNATURES)
def test_nothing_reaches_a_convolution_unchecked(strict, resizing, name):
    for module in (strict, resizing):
        graph = module.signatures[name].function.get_concrete_function().graph
        (start,) = (op for op in graph.get_operations() if op.outputs and op.name == "images")
        reached, waiting = set(), [start]
        while waiting:  # all that an input comes to without passing a checked gate
            op = waiting.pop()
            gated = any(before.type == "Assert" for before in op.control_inputs)
            if op.name in reached or gated:
                continue
            reached.add(op.name)
            waiting += [c for output in op.outputs for c in output.consumers()]
        types = {graph.get_operation_by_name(name).type for name in reached}
        assert "Assert" in types  # the walk did come to the checks
        tender = {"Conv2D", "MatMul", "BatchMatMulV2", "Einsum", "If", "While", *CALLS}
        assert types.isdisjoint(tender)
        everything = {op.type for op in graph.get_operations()}
        assert everything & CALLS


def test_the_ends_of_the_graph_are_those_of_the_interval():
    interval = Interval(0.1, 0.3, 0.02, (2.0, 7.5), (1.0, 1.7, 0.6))
    raw = np.r_[np.linspace(-2, 30, 700), 2, 7.5, 0.5, 1.5, 2.5].astype(np.float32)
    for found, expected in zip(interval_ends(interval, raw), interval.ends(raw), strict=True):
        np.testing.assert_array_equal(found, expected)
