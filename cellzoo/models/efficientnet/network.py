"""The network of :class:`cellzoo.models.efficientnet.section.EfficientNet`."""

from collections.abc import Sequence
from pathlib import Path

import keras
from keras import layers, ops

from cellzoo.errors import UserError
from cellzoo.models.efficientnet.section import EfficientNet
from cellzoo.models.layers import Backbone, CountScaling, ImageCentering
from cellzoo.models.section import Domain

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
    section: EfficientNet,
    domains: Sequence[Domain] = ("natural",),
    seed: int = 0,
    pretrained: bool = True,
) -> keras.Model:
    """Builds an EfficientNet whose last layer gives a count (Twin-VAE paper, section 2.4).

        image -> grey levels of a photograph, three times -> EfficientNet -> mean over space
              -> one dense output -> scaled to the training counts -> count

    Args:
        section: its keys.
        domains: inputs and counts to build.
        seed: of the dropout; weights follow ``keras.utils.set_random_seed``.
        pretrained: False builds the same network with random weights, for others to be put in.

    Returns:
        A functional model with the inputs ``natural`` and perhaps ``synthetic``, float32
        ``[batch, image_size, image_size]`` in [0, 1], and for each the output ``<domain>_count``,
        ``[batch]``.

    Raises:
        UserError: the weights cannot be had.
    """
    side, variant, weights = section.image_size, section.variant, section.weights

    def encoder(domain):
        stages = [layers.Reshape((side, side, 1))]
        if section.center:
            stages += [
                ImageCentering(name="center"),
                layers.Rescaling(PHOTOGRAPH_SPREAD, PHOTOGRAPH_MEAN, name="as_photograph"),
            ]
        else:
            stages += [layers.Rescaling(255.0, name="as_photograph")]
        return keras.Sequential(stages, name=f"{domain}_encoder")

    backbone = VARIANTS[variant](include_top=False, weights=None, input_shape=(side, side, 3))
    if weights is not None and pretrained:
        _load_weights(backbone, variant, weights)
    backbone.trainable = not section.frozen
    # Batch norm that was trained on photographs keeps their statistics: those of small batches of
    # few images would undo what the backbone knows. Random weights have to find theirs.
    features = Backbone(backbone, inference=weights is not None or section.frozen, name="backbone")
    pool = layers.GlobalAveragePooling2D(name="pool")
    drop = layers.Dropout(section.dropout, seed=seed, name="dropout")
    head = layers.Dense(1, kernel_initializer="zeros", name="head")
    scaling = CountScaling(name="count_scaling")

    inputs, outputs = {}, {}
    for domain in domains:
        image = keras.Input((side, side), name=domain)
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
