"""EfficientNet-B0 to B3: a network that has seen photographs, its last layer now the count."""

from collections.abc import Sequence
from pathlib import Path

import keras
from keras import layers, ops

from cellzoo.errors import UserError
from cellzoo.models.layers import Backbone, CountScaling, ImageCentering

VARIANTS = {
    "b0": keras.applications.EfficientNetB0,
    "b1": keras.applications.EfficientNetB1,
    "b2": keras.applications.EfficientNetB2,
    "b3": keras.applications.EfficientNetB3,
}
# Grey level of the photographs of ImageNet, of 0 to 255: mean and standard deviation over the three
# colours that Keras's EfficientNet normalises by, 0.449 and 0.226.
PHOTOGRAPH_MEAN, PHOTOGRAPH_SPREAD = 114.5, 57.6
IMAGENET_STDDEV_RGB = (0.229, 0.224, 0.225)


def efficientnet(
    *,
    variant: str = "b0",
    image_size: int = 128,
    weights: str | None = "imagenet",
    frozen: bool = False,
    center: bool = True,
    dropout: float = 0.0,
    domains: Sequence[str] = ("natural",),
    seed: int = 0,
    read_weights: bool = True,
) -> keras.Model:
    """Builds an EfficientNet whose last layer gives a count (Twin-VAE paper, section 2.4).

        image -> grey levels of a photograph, three times -> EfficientNet -> mean over space
              -> one dense output -> scaled to the training counts -> count

    Synthetic images, where a recipe has them, take the same way through the same weights.

    Args:
        variant: ``"b0"`` (the paper's best) to ``"b3"``.
        image_size: height and width in pixels.
        weights: ``"imagenet"``, which Keras downloads once; the path of a file that
            ``save_weights`` wrote of ``keras.applications.EfficientNetB0(weights=None,
            include_top=False)``; or None: random ones.
        frozen: train the dense output alone.
        center: take each image's mean away and divide by the set's spread first, so that faint
            cells are as strong as the things in photographs.
        dropout: before the dense output.
        domains: inputs and counts to build.
        seed: of the dropout; weights follow ``keras.utils.set_random_seed``.
        read_weights: False builds the same network with random weights, for others to be put in.

    Returns:
        A functional model with the inputs ``natural`` and perhaps ``synthetic``, float32
        ``[batch, image_size, image_size]`` in [0, 1], and for each the output ``<domain>_count``,
        ``[batch]``.

    Raises:
        UserError: the weights cannot be had.

    Example:
        >>> model = efficientnet(image_size=32, weights=None)
        >>> model.predict({"natural": np.zeros((2, 32, 32))})["natural_count"].shape
        (2,)
    """

    def encoder(domain):
        stages = [layers.Reshape((image_size, image_size, 1))]
        if center:
            stages += [
                ImageCentering(name="center"),
                layers.Rescaling(PHOTOGRAPH_SPREAD, PHOTOGRAPH_MEAN, name="as_photograph"),
            ]
        else:
            stages += [layers.Rescaling(255.0, name="as_photograph")]
        return keras.Sequential(stages, name=f"{domain}_encoder")

    backbone = VARIANTS[variant](
        include_top=False, weights=None, input_shape=(image_size, image_size, 3)
    )
    if weights is not None and read_weights:
        _load_weights(backbone, variant, weights)
    backbone.trainable = not frozen
    # Batch norm that was trained on photographs keeps their statistics: those of small batches of
    # few images would undo what the backbone knows. Random weights have to find theirs.
    features = Backbone(backbone, inference=weights is not None or frozen, name="backbone")
    pool = layers.GlobalAveragePooling2D(name="pool")
    drop = layers.Dropout(dropout, seed=seed, name="dropout")
    head = layers.Dense(1, kernel_initializer="zeros", name="head")
    scaling = CountScaling(name="count_scaling")

    inputs, outputs = {}, {}
    for domain in domains:
        image = keras.Input((image_size, image_size), name=domain)
        grey = encoder(domain)(image)
        photograph = ops.concatenate([grey, grey, grey], axis=-1)
        count = scaling(head(drop(pool(features(photograph)))))
        inputs[domain] = image
        outputs[f"{domain}_count"] = ops.squeeze(count, axis=-1)
    return keras.Model(inputs, outputs, name=f"efficientnet_{variant}")


def _load_weights(backbone: keras.Model, variant: str, weights: str) -> None:
    how = (
        "set it to a file that save_weights wrote of keras.applications."
        f"EfficientNet{variant.upper()}(weights=None, include_top=False), or to null for random "
        "weights"
    )
    if weights == "imagenet":
        try:
            _copy_imagenet(backbone, variant)
        except Exception as error:  # Keras has no narrower one for a download that fails
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"model.weights is imagenet, which cannot be downloaded ({reason}): train once "
                f"where there is a network, which keeps the file in ~/.keras/models; or {how}."
            ) from None
        return
    if not Path(weights).is_file():
        raise UserError(f"model.weights is {weights}, and there is no such file: {how}.")
    try:
        backbone.load_weights(weights)
    except (OSError, ValueError, KeyError):
        raise UserError(
            f"model.weights: {weights} holds no weights of EfficientNet-{variant.upper()} without "
            f"its top: {how}."
        ) from None


def _copy_imagenet(backbone: keras.Model, variant: str) -> None:
    """Copies Keras's ImageNet weights into a backbone that was built without them.

    With these weights Keras divides the input by sqrt(0.229) and so on in a layer more, after its
    normalisation. The same goes into the variances here, so that there is one graph for all weights
    and a trained model loads where there is no network.
    """
    source = VARIANTS[variant](include_top=False, weights="imagenet")
    backbone.set_weights(source.get_weights())
    (normalization,) = (s for s in backbone.layers if isinstance(s, layers.Normalization))
    mean, variance, seen = normalization.get_weights()
    normalization.set_weights([mean, variance * IMAGENET_STDDEV_RGB, seen])
    normalization.finalize_state()
