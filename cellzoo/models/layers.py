"""The few layers that Keras does not have."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="cellzoo")
class LatentSampler(keras.layers.Layer):
    """Draws from the latent normal distribution in training, returns its mean otherwise.

    The authors' program samples at test time as well; a count that changes from call to call cannot
    be trusted, so sampling outside training has to be asked for (``training=True``).

    Args:
        seed: seed of the noise.
    """

    def __init__(self, seed: int | None = None, **kwargs):
        """Sets up the noise."""
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, mean, log_variance, training=False):
        """Maps mean and log-variance, float32 of one shape, to a latent vector of that shape."""
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator, dtype=mean.dtype)
        return mean + ops.exp(0.5 * log_variance) * noise

    def compute_output_shape(self, mean_shape, log_variance_shape):
        """The shape of the mean."""
        return mean_shape

    def get_config(self):
        """The arguments that rebuild this layer."""
        return {**super().get_config(), "seed": self.seed}


class _GridLayer(keras.layers.Layer):
    """A layer that needs to know how many pixels wide a grid cell is."""

    def __init__(self, side: int, **kwargs):
        """Takes note of the side."""
        super().__init__(**kwargs)
        self.side = side

    def get_config(self):
        """The arguments that rebuild this layer."""
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable(package="cellzoo")
class SpaceToDepth(_GridLayer):
    """Makes each square of pixels one grid cell, with its pixels, row by row, as channels.

    ``keras.ops.space_to_depth`` does the same and takes five times as long on a processor.

    Args:
        side: of a grid cell in pixels.
    """

    def call(self, images):
        """Maps ``[batch, h, w, 1]``, multiples of the side, to ``[batch, h/s, w/s, s * s]``."""
        side, (_, height, width, _) = self.side, ops.shape(images)
        rows, columns = height // side, width // side
        squares = ops.transpose(
            ops.reshape(images, (-1, rows, side, columns, side)), (0, 1, 3, 2, 4)
        )
        return ops.reshape(squares, (-1, rows, columns, side * side))

    def compute_output_shape(self, shape):
        """See :meth:`call`."""
        batch, *sides, _ = shape
        return (batch, *(size and size // self.side for size in sides), self.side**2)


@keras.saving.register_keras_serializable(package="cellzoo")
class DepthToSpace(_GridLayer):
    """Undoes :class:`SpaceToDepth`: the channels of each grid cell become a square of pixels.

    ``keras.ops.depth_to_space`` does the same and takes eight times as long on a processor.

    Args:
        side: of a grid cell in pixels.
    """

    def call(self, grid):
        """Maps ``[batch, h, w, s * s]`` to ``[batch, h * s, w * s]``, s being the side."""
        side, (_, rows, columns, _) = self.side, ops.shape(grid)
        squares = ops.transpose(ops.reshape(grid, (-1, rows, columns, side, side)), (0, 1, 3, 2, 4))
        return ops.reshape(squares, (-1, rows * side, columns * side))

    def compute_output_shape(self, shape):
        """See :meth:`call`."""
        batch, *sides, _ = shape
        return (batch, *(size and size * self.side for size in sides))


@keras.saving.register_keras_serializable(package="cellzoo")
class ImageCentering(keras.layers.Layer):
    """Takes each image's own mean away and divides by the spread within training images.

    Lamps age and exposure differs from day to day; the number of cells does not depend on either.
    The divisor is a weight set by :meth:`adapt`, so it travels with the model.
    """

    def build(self, input_shape):
        """Creates the divisor, 1 until adapted."""
        self.spread = self.add_weight(name="spread", shape=(), initializer="ones", trainable=False)

    def adapt(self, images) -> None:
        """Sets the divisor to the mean standard deviation within ``images`` ``[n, h, w]``."""
        self.spread.assign(max(float(images.std(axis=(1, 2)).mean()), 1e-6))

    def call(self, images):
        """Maps ``[batch, h, w, 1]`` to the same shape, mean 0 and spread about 1 in each image."""
        return (images - ops.mean(images, axis=(1, 2, 3), keepdims=True)) / self.spread


@keras.saving.register_keras_serializable(package="cellzoo")
class ImageScaling(keras.layers.Layer):
    """Subtracts the training images' background and divides by their spread.

    Both are weights set by :meth:`adapt`, the same for every image and every pixel in it: unlike a
    layer that looks at the whole image it lets a tile be counted as the image is.
    """

    def build(self, input_shape):
        """Creates level and spread, 0 and 1 until adapted."""
        self.level = self.add_weight(name="level", shape=(), initializer="zeros", trainable=False)
        self.spread = self.add_weight(name="spread", shape=(), initializer="ones", trainable=False)

    def adapt(self, images) -> None:
        """Sets them from training images, ``[n, h, w]``: median and standard deviation."""
        images = images[:: -(-len(images) // 64)]
        self.level.assign(float(np.median(images)))
        self.spread.assign(max(float(images.std()), 1e-6))

    def call(self, images):
        """Maps images of any shape to the same shape."""
        return (images - self.level) / self.spread


@keras.saving.register_keras_serializable(package="cellzoo")
class CountScaling(keras.layers.Layer):
    """Turns a number around 0 with a spread of about 1 into a count like those of the training set.

    A new output layer then starts at the mean count, and its learning rate does not depend on how
    many cells an image holds. Both figures are weights, so they travel with the model.
    """

    def build(self, input_shape):
        """Creates mean and spread: 0 and 1 until adapted."""
        self.mean = self.add_weight(name="mean", shape=(), initializer="zeros", trainable=False)
        self.spread = self.add_weight(name="spread", shape=(), initializer="ones", trainable=False)

    def adapt_to_counts(self, counts) -> None:
        """Sets both from the known counts of the training set, ``[n]``, n >= 1."""
        self.mean.assign(float(counts.mean()))
        self.spread.assign(max(float(counts.std()), 1.0))

    def call(self, numbers):
        """Maps an array of any shape to one of that shape."""
        return self.mean + self.spread * numbers


@keras.saving.register_keras_serializable(package="cellzoo")
class Backbone(keras.layers.Layer):
    """A pre-trained network as a layer, which may be kept in inference mode while it learns.

    Calling the network with ``training=False`` while a functional model is built is not enough: the
    model passes its own ``training`` on to each part and overrides that.

    Args:
        network: the network.
        inference: whether batch norm keeps its statistics and dropout stays off in training, too.
    """

    def __init__(self, network: keras.Model, inference: bool, **kwargs):
        """Wraps the network."""
        super().__init__(**kwargs)
        self.network = network
        self.inference = inference

    def call(self, images, training=False):
        """Maps images to features as the network does."""
        return self.network(images, training=training and not self.inference)

    def get_config(self):
        """The arguments that rebuild this layer."""
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "inference": self.inference}

    @classmethod
    def from_config(cls, config):
        """Rebuilds the layer."""
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)


@keras.saving.register_keras_serializable(package="cellzoo")
class Conv2DToOnePixel(keras.layers.Conv2D):
    """A convolution over a grid of its kernel's size: a matrix product.

    Weights and results are those of ``Conv2D``. On a processor a step takes a fifth less time,
    because oneDNN turns the large kernel into a layout of its own again and again.
    """

    def call(self, grid):
        """Maps ``[batch, h, w, channels]``, h and w the kernel's, to ``[batch, 1, 1, filters]``."""
        kernel = ops.reshape(self.kernel, (-1, self.filters))
        values = ops.matmul(ops.reshape(grid, (-1, kernel.shape[0])), kernel)
        return ops.reshape(values + self.bias, (-1, 1, 1, self.filters))


@keras.saving.register_keras_serializable(package="cellzoo")
class Conv2DTransposeFromOnePixel(keras.layers.Conv2DTranspose):
    """A transposed convolution of a single pixel: a matrix product.

    Weights and results are those of ``Conv2DTranspose``; :class:`Conv2DToOnePixel` says why.
    """

    def call(self, pixels):
        """Maps ``[batch, 1, 1, channels]`` to ``[batch, h, w, filters]``, h and w the kernel's."""
        *grid, channels = self.kernel.shape
        kernel = ops.reshape(self.kernel, (-1, channels))
        cells = ops.matmul(ops.reshape(pixels, (-1, channels)), ops.transpose(kernel))
        return ops.reshape(cells, (-1, *grid)) + self.bias
