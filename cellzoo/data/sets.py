"""From a recipe's ``data`` section to images in memory."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cellzoo.data.augment import augmentation
from cellzoo.data.bbbc005 import load_bbbc005
from cellzoo.data.folder import SPLITS, ImageSet, Skipped, load_folder
from cellzoo.data.sources.section import (
    BBBC005Natural,
    FolderNatural,
    SimulatedFluorescence,
    SimulatedNatural,
)
from cellzoo.data.splits import choose_labelled, hide_labels, split_by_group
from cellzoo.errors import UsageError, UserError
from cellzoo.images import Size, checked_axes, read_frames, resize, sides, to_unit
from cellzoo.recipe import Recipe
from cellzoo.simulators import microscope
from cellzoo.simulators.fluorescence import Fluorescence, check_count
from cellzoo.synthetic.drawing import (
    MIN_IMAGES_OF_A_GROUP,
    SyntheticCells,
    background_from,
    backgrounds_of_groups,
)

SIMULATED_SIZE = 128


def simulated_natural(
    *,
    modality: str,
    train: int = 784,
    labelled: int = 59,
    validation: int = 172,
    validation_labelled: int = 62,
    test: int = 172,
    test_labelled: int = 62,
    seed: int,
    splits: Sequence[str] = SPLITS,
) -> ImageSet:
    """Images of the simulated microscope, in splits that share no chamber.

    The defaults are Table 1's bright-field sizes: 59 labelled + 725 unlabelled images for training,
    62 + 110 for test. The paper has no validation split; ours is as large as its test split.

    Args:
        modality: ``"bf"`` or ``"pc"``.
        train: images for training.
        labelled: how many of them keep their count, at a regular interval.
        validation: images to choose hyper-parameters and checkpoints with.
        validation_labelled: how many of them keep their count.
        test: images that only ``evaluate`` touches.
        test_labelled: how many of them keep their count.
        seed: of everything.
        splits: those to simulate; none depends on the others.

    Returns:
        Images, float32 ``[n, 128, 128]`` in [0, 1], with groups, names, splits and hours.

    Raises:
        UsageError: more images are to be labelled than there are.
    """
    sizes = {
        "train": (train, labelled),
        "validation": (validation, validation_labelled),
        "test": (test, test_labelled),
    }
    parts = []
    for k, (split, (total, with_label)) in enumerate(sizes.items()):
        if split not in splits:
            continue
        if with_label > total:
            key = "labelled" if split == "train" else f"{split}_labelled"
            raise UsageError(
                f"data.natural.{key} is {with_label}, but only {total} images are simulated "
                f"for {split}: lower it or raise data.natural.{split}."
            )
        images = _simulated_once(modality, total, (seed, k), f"{modality}_{split}")
        keep = microscope.labelled_at_regular_interval(total, with_label)
        parts.append(
            ImageSet(
                images=images.images.astype(np.float32) / 255,
                counts=np.where(keep, images.counts, np.nan).astype(np.float32),
                groups=np.asarray(images.groups),
                names=np.array([f"simulated_{modality}_{split}_{i:04d}.png" for i in range(total)]),
                splits=np.full(total, split),
                times=images.hours,
            )
        )
    return ImageSet.join(parts)


@lru_cache(maxsize=12)
def _simulated_once(
    modality: str, n: int, seed: tuple[int, int], prefix: str
) -> microscope.SimulatedSet:
    """Keeps what `compare` asks for again for each method: the splits of a few seeds."""
    return microscope.simulate_set(modality, n, seed, prefix=prefix)


def simulated_fluorescence(
    *,
    train: int = 200,
    validation: int = 50,
    test: int = 50,
    count_range: tuple[int, int] = (1, 100),
    test_count_range: tuple[int, int] | None = None,
    image_size: Size,
    seed: int | tuple[int, ...],
    splits: Sequence[str] = SPLITS,
    **controls: Any,
) -> ImageSet:
    """Simulated fluorescence images with instance masks, each of a layout of its own.

    Args:
        train: images for training, all labelled.
        validation: images to choose hyper-parameters and checkpoints with.
        test: images that only ``evaluate`` touches.
        count_range: fewest and most cells in an image; each number is as likely as any other.
        test_count_range: the same for the test split, so that a model trained on few cells can be
            tested on many; None: ``count_range``.
        image_size: side, or height and width, in pixels.
        seed: of everything.
        splits: those to simulate; none depends on the others.
        **controls: fields of :class:`cellzoo.simulators.fluorescence.Fluorescence`.

    Returns:
        Images, float32 ``[n, h, w]`` in [0, 1], with groups, names, splits and uint16 masks.

    Raises:
        UsageError: cells cannot be drawn as described, or find no room.
    """
    simulator = Fluorescence(**controls)
    ranges = {"count_range": count_range, "test_count_range": test_count_range or count_range}
    for key, (fewest, most) in ranges.items():
        if fewest > most:
            raise UsageError(
                f"data.natural.{key} is [{fewest}, {most}], the first above the second: write "
                "[fewest, most]."
            )
        check_count(sides(image_size), most)
    parts = []
    for k, (split, total) in enumerate(zip(SPLITS, (train, validation, test), strict=True)):
        if split in splits:
            counts = ranges["test_count_range" if split == "test" else "count_range"]
            own_seed = (*np.atleast_1d(seed).tolist(), k)
            parts.append(_fluorescence_split(simulator, split, total, counts, image_size, own_seed))
    return ImageSet.join(parts)


def _fluorescence_split(
    simulator: Fluorescence,
    split: str,
    total: int,
    count_range: tuple[int, int],
    image_size: Size,
    seed: tuple[int, ...],
) -> ImageSet:
    counts = np.random.default_rng((*seed, 0)).integers(count_range[0], count_range[1] + 1, total)
    drawn = [
        simulator.draw(sides(image_size), int(count), (*seed, 1, i))
        for i, count in enumerate(counts)
    ]
    images, masks = zip(*drawn, strict=True)
    return ImageSet(
        images=np.stack(images).astype(np.float32) / 255,
        counts=counts.astype(np.float32),
        groups=np.array([f"fluorescence_{split}_{i:04d}" for i in range(total)]),
        names=np.array([f"simulated_fluorescence_{split}_{i:04d}.png" for i in range(total)]),
        splits=np.full(total, split),
        masks=np.stack(masks),
    )


def folder_natural(
    *,
    folder: str,
    labels: str | None = "labels.csv",
    labelled: int | float | None = None,
    shares: dict[str, float] | None = None,
    size: Literal["error", "resize"] = "error",
    intensity: Literal["dtype"] | tuple[float, float] = "dtype",
    axes: str | None = None,
    channel: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    image_size: Size,
    seed: int,
) -> tuple[ImageSet, list[Skipped]]:
    """A lab's own folder of images, with counts in ``labels.csv``.

    Args:
        folder: of images; a relative path starts where the command runs.
        labels: table of counts in that folder; None if nothing is labelled.
        labelled: how many training images (or which share of them) keep their label; None: all;
            0: the synthetic images alone tell what a count is.
        shares: of train, validation and test where ``labels.csv`` has no split; None: 0.7, 0.15
            and 0.15. Whole groups are dealt out.
        size: what to do with images of another size than ``image_size``: stop, or resize them.
        intensity: ``"dtype"`` (the full range of the file's type is 0 to 1) or ``[low, high]``.
        axes: of TIFF stacks whose file does not say, such as ``TYX``.
        channel: to read from files with several.
        on_error: stop at a file that cannot be read, or skip it and say so at the end.
        image_size: side, or height and width, in pixels that the model takes.
        seed: of the split and of the choice of labels.

    Returns:
        The images, each in a split, and the files that were skipped.

    Raises:
        UserError: from :func:`cellzoo.data.folder.load_folder`, or fewer are labelled than asked.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: there is no such folder, set data.natural.folder to yours.")
    images, skipped = load_folder(
        Path(folder), image_size=image_size, labels=labels, size=size, intensity=intensity,
        axes=axes, channel=channel, on_error=on_error,
    )  # fmt: skip
    splits = images.splits.astype("<U10")
    unassigned = splits == ""
    if (splits == "").all():
        splits = split_by_group(
            images.groups,
            shares or {"train": 0.7, "validation": 0.15, "test": 0.15},
            seed,
            images.labelled,
        )
    elif unassigned.any():
        # A table that assigns some images has the last word; the rest may only help to learn.
        splits[unassigned] = "train"
    train = splits == "train"
    keep = images.labelled.copy()
    keep[train] = choose_labelled(images.counts[train], images.groups[train], labelled, seed)
    return hide_labels(replace(images, splits=splits), keep), skipped


class SyntheticSource:
    """Synthetic cells for training, either a fixed set or fresh ones in every batch."""

    def __init__(self, cells: SyntheticCells, images: int, fresh: bool, seed: int):
        """Renders the fixed set; a fresh one is rendered as it is asked for."""
        self.cells = cells
        self.size = images
        self.seed = seed
        self.fixed = None if fresh else cells.render(images, (seed, 0), masks=True)

    def batch(self, step: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the fixed set, or new ones: images, counts and masks.

        Returns:
            float32 ``[n, h, w]``, int32 ``[n]`` and uint16 ``[n, h, w]``, numbers of cells.
        """
        if self.fixed is None:
            return self.cells.render(len(indices), (self.seed, 1, step), masks=True)
        images, counts, masks = self.fixed
        return images[indices], counts[indices], masks[indices]


def cells_of(recipe: Recipe, natural: ImageSet | None) -> SyntheticCells:
    """The generator of a recipe's synthetic cells, see :func:`synthetic_cells`."""
    section = recipe.data.natural
    return synthetic_cells(
        **recipe.data.synthetic.model_dump(exclude={"images", "fresh"}),
        natural=natural,
        image_size=recipe.image_size,
        intensity=getattr(section, "intensity", "dtype"),
        channel=getattr(section, "channel", None),
    )


def synthetic_cells(
    *,
    preset: str,
    background: str | None,
    natural: ImageSet | None,
    image_size: Size,
    intensity: Literal["dtype"] | tuple[float, float] = "dtype",
    channel: int | None = None,
    **controls: Any,
) -> SyntheticCells:
    """The generator that a recipe's ``data.synthetic`` describes.

    Args:
        preset: ``"bf"`` or ``"pc"``.
        background: ``"natural"``: the mean of natural training images with few cells (paper 2.2);
            ``"groups"``: for each image one of the backgrounds of the natural training groups;
            None: an even grey; or the path of an image.
        natural: natural training images; None: no natural background, which does for a check.
        image_size: side in pixels.
        intensity: of the natural images, by which the image of the background is read, too.
        channel: of the natural images, likewise.
        **controls: fields of :class:`cellzoo.synthetic.drawing.SyntheticCells`; None: the preset's.

    Raises:
        UsageError: the images are not square, or the cells cannot be drawn.
        UserError: no group has enough images to tell its background, or there is no such image.
    """
    height, width = sides(image_size)
    if height != width:
        raise UsageError(
            f"data.synthetic draws square images and model.image_size is [{height}, {width}]: "
            "set it to one number, or leave data.synthetic out."
        )
    given = {key: value for key, value in controls.items() if value is not None}
    if background == "natural":
        if natural is not None:
            given["background"] = background_from(natural.images, natural.counts)
    elif background == "groups":
        if natural is not None:
            radius = SyntheticCells.preset(preset, size=height, **given).radius[1]
            given["background"] = backgrounds_of_groups(natural.images, natural.groups, radius)
            if not len(given["background"]):
                raise UserError(
                    "data.synthetic.background is 'groups', but no group of training images has "
                    f"{MIN_IMAGES_OF_A_GROUP} or more: name the place that each image shows in "
                    "the group column of labels.csv, or set it to 'natural'."
                )
    elif background is not None:
        if not Path(background).is_file():
            raise UserError(
                f"data.synthetic.background is {background}, and there is no such file: write "
                "'natural', 'groups', null or the path of an image."
            )
        frame = next(iter(read_frames(Path(background), channel=channel)))
        unit = to_unit(frame.pixels, intensity, background)
        given["background"] = np.clip(resize(unit, height), 0, 1)
    return SyntheticCells.preset(preset, size=height, **given)


def natural_images(
    section: SimulatedNatural | FolderNatural | BBBC005Natural | SimulatedFluorescence,
    image_size: Size,
    seed: int,
    splits: Sequence[str] = SPLITS,
) -> tuple[ImageSet, list[Skipped]]:
    """The natural images that a recipe's ``data.natural`` section asks for.

    Args:
        section: of the recipe.
        image_size: side, or height and width, in pixels that the model takes.
        seed: of the simulation, or of splits and the choice of labels.
        splits: those wanted; training asks for no test image.

    Returns:
        The images, float32 ``[n, h, w]`` of that size in [0, 1], and the files skipped.

    Raises:
        UserError: nothing labelled is in a split wanted for training or validation.
        UsageError: simulated images come in another size.
    """
    images, skipped = read_natural_images(section, image_size, seed, splits)
    for split in ("validation",) if section.unlabelled else ("train", "validation"):
        if split in splits and not images.of(split).labelled.any():
            raise UserError(
                f"No {split} image of data.natural has a count: label some, or mark some as "
                f"{split} in the split column of labels.csv."
            )
    return images, skipped


def read_natural_images(
    section: SimulatedNatural | FolderNatural | BBBC005Natural | SimulatedFluorescence,
    image_size: Size,
    seed: int,
    splits: Sequence[str] = SPLITS,
) -> tuple[ImageSet, list[Skipped]]:
    """What :func:`natural_images` gives, whatever is labelled."""
    arguments = section.model_dump(exclude={"source"})
    if section.source == "simulated":
        if sides(image_size) != (SIMULATED_SIZE, SIMULATED_SIZE):
            raise UsageError(
                f"model.image_size is {image_size}, but simulated images have {SIMULATED_SIZE} px: "
                f"set it to {SIMULATED_SIZE}."
            )
        images, skipped = simulated_natural(**arguments, seed=seed, splits=splits), []
    elif section.source == "simulated_fluorescence":
        arguments |= {"image_size": image_size, "seed": seed, "splits": splits}
        images, skipped = simulated_fluorescence(**arguments), []
    else:
        read = folder_natural
        if section.source == "bbbc005":
            read, arguments["folder"] = load_bbbc005, Path(arguments["folder"])
        images, skipped = read(**arguments, image_size=image_size, seed=seed)
        images = images.take(np.isin(images.splits, splits))
    return images, skipped


def check_recipe(recipe: Recipe) -> None:
    """Finds values that fit their keys but not each other, without loading an image.

    Raises:
        UsageError: stacks have no such axes, the cells cannot be drawn as described, the
            augmentation cannot be done, nothing tells the count or it is never learned, the images
            cannot be turned to be counted, or the network cannot be built or has no such loss.
    """
    start, epochs = recipe.loss.count_start_epoch, recipe.train.epochs
    if start >= epochs:
        raise UsageError(
            f"loss.count_start_epoch is {start} of train.epochs {epochs}, so the model would never "
            "learn to count: lower the first or raise the second."
        )
    height, width = sides(recipe.image_size)
    if recipe.count.views == 8 and height != width:
        raise UsageError(
            f"count.views is 8, but images of {width} x {height} px do not fit the network when "
            "they are turned by 90 degrees: choose 4."
        )
    augmentation(size=recipe.image_size, **recipe.augment.model_dump())
    natural = recipe.data.natural
    if natural.unlabelled:
        _check_unlabelled(recipe)
    if recipe.classical and recipe.data.synthetic:
        raise UsageError(
            f"{recipe.model.name} learns from natural images alone: leave data.synthetic out."
        )
    if natural.source == "folder":
        checked_axes(natural.axes)
    if natural.source == "simulated_fluorescence":
        arguments = natural.model_dump(exclude={"source"}) | {"train": 1}
        simulated_fluorescence(**arguments, image_size=recipe.image_size, seed=0, splits=("train",))
    if recipe.model.name == "twinvae_spatial" and recipe.loss.reconstruction == "bce":
        raise UsageError(
            "loss.reconstruction is bce, a cross entropy of grey levels from 0 to 1, and "
            "twinvae_spatial decodes beyond these ends: set it to mse."
        )
    if recipe.model.name == "dcc":
        _check_dcc(recipe)
    if recipe.data.synthetic:
        cells_of(recipe, natural=None)


def _check_unlabelled(recipe: Recipe) -> None:
    """Sees to it that something else than natural images tells the count."""
    if recipe.classical:
        raise UsageError(
            f"data.natural.labelled is 0, but {recipe.model.name} is fitted on labelled images "
            "alone: label some."
        )
    if not recipe.data.synthetic:
        raise UsageError(
            "data.natural.labelled is 0 and there is no data.synthetic, so nothing tells the "
            "model how many cells there are: label some images, or add synthetic ones."
        )


def _check_dcc(recipe: Recipe) -> None:
    model = recipe.model
    stride = 2 ** len(model.channels)
    if any(side % stride for side in sides(model.image_size)):
        raise UsageError(
            f"model.image_size is {model.image_size}, but {len(model.channels)} stages halve it to "
            f"{stride} times less: choose multiples of {stride}."
        )
    if model.threshold_block % 2 == 0:
        raise UsageError(
            f"model.threshold_block is {model.threshold_block}: the window needs a centre, "
            "choose an odd number."
        )
    if recipe.data.synthetic:
        raise UsageError("model dcc has no synthetic half: leave data.synthetic out.")
