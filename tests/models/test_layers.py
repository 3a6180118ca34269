"""Layers that Keras does not have, or not as fast."""

import keras
import numpy as np
import pytest

from cellzoo.models.layers import (
    Conv2DToOnePixel,
    Conv2DTransposeFromOnePixel,
    DepthToSpace,
    SpaceToDepth,
)

SIZES = [(4, 4), (8, 12), (20, 4)]


def test_a_square_of_pixels_becomes_channels_row_by_row():
    image = np.arange(8.0).reshape(1, 2, 4, 1)
    squares = np.asarray(SpaceToDepth(2)(image))
    np.testing.assert_array_equal(squares, [[[[0, 1, 4, 5], [2, 3, 6, 7]]]])
    np.testing.assert_array_equal(DepthToSpace(2)(squares), image[..., 0])


@pytest.mark.parametrize("size", SIZES)
def test_they_do_what_the_slower_operations_of_keras_do(size):
    images = np.random.default_rng(0).random((3, *size, 1), np.float32)
    squares = np.asarray(keras.ops.space_to_depth(images, 4))
    np.testing.assert_array_equal(SpaceToDepth(4)(images), squares)
    np.testing.assert_array_equal(DepthToSpace(4)(squares), images[..., 0])


def test_sides_may_be_unknown():
    image = keras.Input((None, None, 1))
    squares = SpaceToDepth(4)(image)
    again = DepthToSpace(4)(squares)
    assert squares.shape == (None, None, None, 16) and again.shape == (None, None, None)
    model = keras.Model(image, again)
    for size in SIZES:
        images = np.random.default_rng(1).random((2, *size, 1), np.float32)
        np.testing.assert_array_equal(model.predict(images, verbose=0), images[..., 0])


@pytest.mark.parametrize(
    ("layer", "shape"), [(SpaceToDepth(4), (2, 8, 12, 1)), (DepthToSpace(4), (2, 2, 3, 16))]
)
def test_they_are_rebuilt_from_their_arguments_and_know_their_shapes(layer, shape):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    numbers = np.random.default_rng(2).random(shape, np.float32)
    np.testing.assert_array_equal(again(numbers), layer(numbers))
    assert layer.compute_output_shape(shape) == tuple(again(numbers).shape)


@pytest.mark.parametrize(
    ("layer", "keras_layer", "shape"),
    [
        (Conv2DToOnePixel, keras.layers.Conv2D, (3, 5, 5, 4)),
        (Conv2DTransposeFromOnePixel, keras.layers.Conv2DTranspose, (3, 1, 1, 4)),
    ],
)
def test_a_convolution_of_one_pixel_is_that_of_keras(layer, keras_layer, shape):
    grid = np.random.default_rng(3).standard_normal(shape, np.float32)
    theirs, ours = keras_layer(6, 5, strides=2), layer(6, 5, strides=2)
    expected = np.asarray(theirs(grid))
    assert ours(grid).shape == expected.shape == tuple(ours.compute_output_shape(shape))
    kernel, bias = theirs.get_weights()
    bias = np.arange(6, dtype=np.float32)
    ours.set_weights([kernel, bias])
    np.testing.assert_allclose(ours(grid), expected + bias, rtol=0, atol=1e-5)
