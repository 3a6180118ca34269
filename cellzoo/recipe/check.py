"""What the sections of a recipe ask of each other."""

from cellzoo.errors import UsageError
from cellzoo.recipe.schema import Recipe


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
    height, width = recipe.model.size
    if recipe.count.test_time_augmentation == 8 and height != width:
        raise UsageError(
            f"count.test_time_augmentation is 8, but images of {width} x {height} px do not fit "
            "the network when they are turned by 90 degrees: choose 4."
        )
    if recipe.count.test_time_augmentation > 1 and recipe.model.counts_alike_when_turned:
        raise UsageError(
            "model.symmetric gives an image the same count in all its orientations: set "
            "count.test_time_augmentation to 1."
        )
    turns = recipe.augment.rotate and height == width
    if recipe.train.distil and not (recipe.augment.flip or turns):
        raise UsageError(
            "train.distil teaches the mean of an image's orientations, but it has one alone: set "
            "augment.flip to true, or train.distil to 0."
        )
    recipe.model.check()
    if recipe.augment.window:
        _check_window(recipe)
    if recipe.data.normalise:
        _check_normalise(recipe)
    if recipe.data.natural.source == "mixed":
        _check_mixed(recipe)
    recipe.augment.check(recipe.augment.window or recipe.image_size)
    recipe.data.check(recipe.image_size)
    if recipe.data.natural.keeps_all_labels_hidden:
        _check_unlabelled(recipe)
    if recipe.data.synthetic and not recipe.model.takes_synthetic:
        raise UsageError(
            f"{recipe.model.name} learns from natural images alone: leave data.synthetic out."
        )
    if recipe.loss.reconstruction == "bce" and recipe.model.decodes_beyond_unit_range:
        raise UsageError(
            "loss.reconstruction is bce, a cross entropy of grey levels from 0 to 1, and "
            f"{recipe.model.name} decodes beyond these ends: set it to mse."
        )


def _check_window(recipe: Recipe) -> None:
    """Sees to it that windows of images can teach the model."""
    window, tiling = recipe.augment.window, recipe.model.tiling()
    if tiling is None or recipe.model.needs_masks:
        raise UsageError(
            f"augment.window is {window}, but {recipe.model.name} does not count by places: choose "
            "twin_density, or dcc with model.head: additive, or leave augment.window out."
        )
    if recipe.data.synthetic:
        raise UsageError(
            "augment.window cuts real images alone, and data.synthetic draws whole ones: leave one "
            "of the two out."
        )
    if window > min(recipe.model.size) or window % tiling.stride:
        raise UsageError(
            f"augment.window is {window}: choose a multiple of {tiling.stride} that is at most "
            f"{min(recipe.model.size)}, the side of the images."
        )


def _check_normalise(recipe: Recipe) -> None:
    """Sees to it that images made alike can teach the model."""
    settings, tiling = recipe.data.normalise, recipe.model.tiling()
    if tiling is None or recipe.model.needs_masks or not recipe.model.segments:
        raise UsageError(
            f"data.normalise makes images of many sizes, which {recipe.model.name} cannot count as "
            "it is: choose dcc with model.head: additive, or leave data.normalise out."
        )
    if recipe.data.synthetic or recipe.augment.window:
        raise UsageError(
            "data.normalise cuts windows out of images with label images: leave data.synthetic "
            "and augment.window out."
        )
    if settings.window % tiling.stride:
        raise UsageError(
            f"data.normalise.window is {settings.window}: choose a multiple of {tiling.stride}."
        )


def _check_mixed(recipe: Recipe) -> None:
    """Sees to it that images of many sizes can teach the model, and be counted."""
    if recipe.model.tiling() is None or recipe.model.needs_masks or recipe.data.normalise:
        raise UsageError(
            f"data.natural.source is mixed, whose images have many sizes, and {recipe.model.name} "
            "cannot count these: choose twin_density, without data.normalise."
        )
    if recipe.augment.window or recipe.augment.overlay or recipe.augment.crop < 1:
        raise UsageError(
            "data.natural.source is mixed, whose cells may have no dots, so parts of its images "
            "have no known count: set augment.window to null, augment.overlay to null and "
            "augment.crop to 1."
        )


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
