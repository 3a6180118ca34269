"""What may happen to a training image without changing its count (Twin-VAE, section 2.3.4).

A mask goes where its image goes, and so do the places of cells, after which such an image counts
those that it still shows.
"""

import difflib
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import cv2
import numpy as np
from pydantic import Field, NonNegativeFloat, ValidationError

from cellzoo.data.points import inside, resize_points
from cellzoo.errors import UsageError
from cellzoo.images import Size, sides
from cellzoo.section import Section, Share

if TYPE_CHECKING:
    import albumentations


class Augmentation(Protocol):
    """Changes images, and their masks and points alike."""

    def __call__(
        self,
        images: np.ndarray,
        seed: Sequence[int],
        masks: np.ndarray | None = None,
        points: Sequence[np.ndarray | None] | None = None,
    ) -> np.ndarray | tuple:
        """The images, or a tuple of images and what else is given; noise may leave [0, 1].

        Args:
            images: float32 ``[n, h, w]`` in [0, 1].
            seed: integers; the result depends on them and the arguments alone.
            masks: uint8 or uint16 ``[n, h, w]``; they play no part in what becomes of the images.
            points: of each image the places of its cells, ``[k, 2]``, x before y; None where they
                are not known. Those that leave the image are gone.
        """


class Augment(Section):
    """What happens to training images.

    Attributes:
        flip: flip at random, left to right and upside down.
        rotate: rotate at random by a multiple of 90 degrees; images that are not square stay.
        window: side in pixels of a random part of each real training image, which is cut out first
            and is all that the network sees at a time; the count is that of the dots in it, so
            images without dots teach nothing. None: whole images.
        crop: side of a random crop, as a share of the image, scaled back to full size. The paper's
            0.9 takes 115 of 128 pixels. 1 where cells lie at the border and there are no dots: a
            crop would lose them.
        crop_probability: how often the crop happens; the paper's is 1.
        noise: standard deviation of the Gaussian pixel noise, grey levels in [0, 1] (authors'
            program: 0.0025). DeepCellCount (section 3.1) has such noise without a figure.
        contrast: an image's differences from its own mean are multiplied by 1 - contrast to
            1 + contrast. Not in the paper.
        gain: images are multiplied by 1 - gain to 1 + gain. Not in the paper.
        offset: -offset to +offset is added, grey levels in [0, 1]. Not in the paper.
        blur: how often an image is averaged over 5 x 5 pixels (DeepCellCount, section 3.1).
        overlay: diameter in pixels of a cell with its blur: before all else clusters of cells of
            other dotted training images are laid over each dotted one, and the brighter pixel
            shows. For bright cells on a dark background, see :mod:`cellzoo.data.overlay`. None:
            nothing is. Not in the paper.
        extra: transforms of albumentations, each a mapping of its ``name`` and its arguments, done
            last but for noise, contrast, gain and offset. One that moves cells out of the image
            makes its count wrong.
    """

    window: Annotated[int, Field(ge=16)] | None = None
    flip: bool = True
    rotate: bool = True
    crop: Annotated[float, Field(gt=0, le=1)] = 0.9
    crop_probability: Share = 1.0
    noise: NonNegativeFloat = 0.0025
    contrast: Share = 0.0
    gain: NonNegativeFloat = 0.0
    offset: NonNegativeFloat = 0.0
    blur: Share = 0.0
    overlay: Annotated[int, Field(ge=3)] | None = None
    extra: list[dict[str, Any]] = []

    def check(self, size: Size) -> None:
        """Checks what a recipe adds in its own words, see :meth:`build`."""
        if self.extra:  # the rest has been checked; the library takes 0.4 s to import
            self.build(size)

    def build(self, size: Size) -> Augmentation:
        """The augmentation of images of a size.

        Args:
            size: side, or height and width, of the images in pixels.

        Returns:
            A function of images, a seed and perhaps masks and points, see :class:`Augmentation`.

        Raises:
            UsageError: a transform of ``extra`` does not exist, has wrong arguments, or is not for
                grey images.
        """
        together = self._geometry(size)

        def augment(
            images: np.ndarray,
            seed: Sequence[int],
            masks: np.ndarray | None = None,
            points: Sequence[np.ndarray | None] | None = None,
        ) -> np.ndarray | tuple:
            random = np.random.default_rng(seed)
            # One generator for all steps: set_random_seed would give each step the same chances, so
            # that an image is flipped either both ways or not at all.
            together.set_random_state(random, Random(int(random.integers(2**31))))
            done = []
            for k, image in enumerate(images):
                given = {"image": image}
                if masks is not None:
                    given["mask"] = masks[k]
                if points is not None:
                    given["keypoints"] = _NO_POINTS if points[k] is None else points[k]
                done.append(together(**given))
            out = np.stack([each["image"] for each in done])
            out = self._with_other_greys(out, random)
            beside = []
            if masks is not None:
                beside.append(np.stack([each["mask"] for each in done]))
            if points is not None:
                beside.append(
                    [
                        None if known is None else inside(each["keypoints"], image.shape)
                        for known, each, image in zip(points, done, out, strict=True)
                    ]
                )
            return (out, *beside) if beside else out

        return augment

    def _geometry(self, size: Size) -> "albumentations.Compose":
        """The steps that move pixels, the blur, and what the recipe adds to them."""
        albumentations = _albumentations()
        height, width = sides(size)
        # The library warns where nothing could move places.
        steps: list[albumentations.BasicTransform] = [albumentations.NoOp(p=1.0)]
        if self.crop < 1:
            crop_sides = (max(1, round(height * self.crop)), max(1, round(width * self.crop)))
            steps.append(
                albumentations.Sequential(
                    [
                        albumentations.RandomCrop(*crop_sides),
                        # Otherwise masks move half a pixel against their images.
                        _resize()(height, width, mask_interpolation=cv2.INTER_NEAREST_EXACT),
                    ],
                    p=self.crop_probability,
                )
            )
        if self.flip:
            steps += [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
        if self.rotate and height == width:
            steps.append(albumentations.RandomRotate90(p=1.0))
        if self.blur:
            steps.append(albumentations.Blur(blur_limit=(5, 5), p=self.blur))
        steps += [_transform(k, entry, (height, width)) for k, entry in enumerate(self.extra)]
        places = albumentations.KeypointParams(format="xy", remove_invisible=False)
        return albumentations.Compose(steps, keypoint_params=places)

    def _with_other_greys(self, out: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Contrast, gain, offset and noise, in place: new memory would take half of the time."""
        one_per_image = (len(out), 1, 1)
        if self.contrast:
            mean = out.mean(axis=(1, 2), keepdims=True)
            factor = random.uniform(1 - self.contrast, 1 + self.contrast, one_per_image)
            out -= mean
            out *= factor.astype(np.float32)
            out += mean
        # Drawn in any case, so that what is drawn next does not depend on the recipe.
        gain = random.uniform(1 - self.gain, 1 + self.gain, one_per_image).astype(np.float32)
        offset = random.uniform(-self.offset, self.offset, one_per_image).astype(np.float32)
        if self.gain:
            out *= gain
        if self.offset:
            out += offset
        np.clip(out, 0, 1, out)
        # Beyond 0 and 1, too: clipped noise would make a dark background brighter than it is, and
        # what was learned there would count too few cells where there is no noise.
        if self.noise:
            noise = random.standard_normal(out.shape, np.float32)
            noise *= np.float32(self.noise)
            out += noise
        return out


def _albumentations():
    """The library, which takes a second to import: only where images are augmented."""
    # It asks a server for newer versions when imported; a microscope's computer is offline.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


@cache
def _resize() -> type["albumentations.Resize"]:
    """Resizing that takes places with it; albumentations leaves the first pixel's middle at 0."""
    albumentations = _albumentations()

    class Resize(albumentations.Resize):
        def apply_to_keypoints(self, keypoints: np.ndarray, **params: Any) -> np.ndarray:
            moved = keypoints.copy()
            new = (self.height, self.width)
            moved[:, :2] = resize_points(keypoints[:, :2], params["shape"][:2], new)
            return moved

    return Resize


_NO_POINTS = np.zeros((0, 2), np.float32)
_TRIES = 10  # of a transform: some turn an image by chance


def _transform(
    place: int, entry: Mapping[str, Any], size: tuple[int, int]
) -> "albumentations.BasicTransform":
    """One transform of a recipe's ``augment.extra``, tried on an image of the size."""
    where = f"augment.extra.{place}"
    arguments = dict(entry)
    if "name" not in arguments:
        raise UsageError(f"{where} has no name: add the name of an albumentations transform.")
    name = str(arguments.pop("name"))
    known = _transforms()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        cure = f"did you mean {near[0]}?" if near else "GaussianBlur would be one."
        raise UsageError(f"{where}.name is {name}, which is no albumentations transform; {cure}")
    valid = list(inspect.signature(known[name]).parameters)
    for key in arguments:
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.5)
            cure = f"did you mean {near[0]}?" if near else f"it has {', '.join(valid)}."
            raise UsageError(f"{where}: {name} has no argument {key}; {cure}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            transform = known[name](**arguments)
            trial = _albumentations().Compose([known[name](**arguments | {"p": 1.0})], seed=0)
            image, mask = np.full(size, 0.5, np.float32), np.zeros(size, np.uint8)
            trial(image=image)  # not every image has a mask
            tries = [trial(image=image, mask=mask) for _ in range(_TRIES)]
    except Exception as error:  # albumentations has no exceptions of its own
        raise UsageError(f"{where}: {name} cannot be used so: {_one_line(error)}.") from None
    for done in tries:
        same = [
            (after.shape, after.dtype) == (before.shape, before.dtype)
            for before, after in ((image, done["image"]), (mask, done["mask"]))
        ]
        if not all(same):
            raise UsageError(
                f"{where}: {name} makes {done['image'].shape} {done['image'].dtype} of an image of "
                f"{size} float32: choose one that keeps size and type."
            )
    return transform


def _transforms() -> dict[str, type["albumentations.BasicTransform"]]:
    """Every transform of albumentations by its name."""
    albumentations = _albumentations()
    return {
        name: value
        for name, value in vars(albumentations).items()
        if inspect.isclass(value)
        and issubclass(value, albumentations.BasicTransform)
        and not value.__module__.startswith("albumentations.core")  # classes to derive others from
    }


def _one_line(error: Exception) -> str:
    """What is wrong, in one line; of a validation of several values the first."""
    validation = error.__context__
    if isinstance(validation, ValidationError):
        first = validation.errors()[0]
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        return f"{first['loc'][0]} is {first['input']}, {message}" if first["loc"] else message
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
