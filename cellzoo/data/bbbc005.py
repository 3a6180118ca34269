"""BBBC005 (Broad Bioimage Benchmark Collection): simulated fluorescence cells, counts in the names.

`SIMCEPImages_A01_C1_F1_s01_w1.TIF` is well A01, 1 cell, focus level 1 (the higher, the more
blurred), sample 1, stain 1 (nuclei; 2: cell bodies). All images of one count and sample show the
same layout of cells. Read are the original folders, `BBBC005_v1_images` with
`BBBC005_v1_ground_truth` beside it, and a folder with `images/` and `masks/`; names may lack
`SIMCEPImages_` and end in .png.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cellzoo.data.folder import ImageSet, Skipped
from cellzoo.data.splits import choose_labelled, hide_labels, split_by_group
from cellzoo.errors import UserError
from cellzoo.images import (
    Size,
    find_images,
    read_frames,
    read_mask,
    resize,
    resize_mask,
    sides,
    to_unit,
)

ORIGINAL_SIZE = (520, 696)  # height and width in pixels

_NAME = re.compile(r"(?:SIMCEPImages_)?([A-P]\d\d)_C(\d+)_F(\d+)_s(\d+)_w(\d)", re.IGNORECASE)
_MASKS, _ORIGINAL_MASKS = "masks", "BBBC005_v1_ground_truth"


@dataclass(frozen=True)
class Scene:
    """What a file name says.

    Attributes:
        count: of cells.
        focus: level; 1 is in focus.
        sample: number of the layout among those with this count.
        stain: 1 for nuclei, 2 for cell bodies.
    """

    count: int
    focus: int
    sample: int
    stain: int

    @property
    def group(self) -> str:
        """The layout of cells: the same for both stains and all focus levels."""
        return f"c{self.count}_s{self.sample}"


def parse_name(path: Path) -> Scene:
    """Reads a file name.

    Raises:
        UserError: it is not a name of BBBC005.
    """
    found = _NAME.fullmatch(path.stem)
    if not found:
        raise UserError(
            f"{path}: is no name of BBBC005 such as A01_C1_F1_s01_w1, move the file elsewhere or "
            "read the folder with data.natural.source: folder"
        )
    return Scene(*(int(number) for number in found.groups()[1:]))


def load_bbbc005(
    folder: Path,
    *,
    image_size: Size,
    stains: Sequence[int] = (1, 2),
    blurs: Sequence[int] | None = None,
    labelled: int | float | None = None,
    shares: dict[str, float] | None = None,
    size: Literal["error", "resize"] = "error",
    on_error: Literal["stop", "skip"] = "stop",
    seed: int,
) -> tuple[ImageSet, list[Skipped]]:
    """Loads images, counts, masks and a split by layout.

    The split is dealt out over all layouts of the folder, whatever stains and blurs are chosen: a
    model trained on one stain may be tested on the other. A mask belongs to its layout and stain:
    that of the image in focus serves all focus levels.

    Args:
        folder: see the module.
        image_size: side, or height and width, that the model takes; the originals have
            `[520, 696]`.
        stains: which of them.
        blurs: which focus levels; None: all of them.
        labelled: how many training images (or which share of them) keep their count; None: all.
        shares: of train, validation and test, by layouts; None: 0.7, 0.2 and 0.1 (DeepCellCount,
            section 3.1).
        size: what to do with images of another size: stop, or resize them.
        on_error: stop at a file that cannot be read, or skip it.
        seed: of the split and the choice of labels.

    Returns:
        The images in the order of count, sample, stain and focus, and the files skipped.

    Raises:
        UserError: a name or an image cannot be used, or nothing has the stains and blurs.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder, set data.natural.folder to yours.")
    masks = _masks(folder)
    mask_folders = {path.parent.resolve() for path in masks.values()}
    scenes, skipped = {}, []
    for path in find_images([folder]):
        if path.parent.resolve() in mask_folders or path.parent.name in (_MASKS, _ORIGINAL_MASKS):
            continue
        try:
            scenes[path] = parse_name(path)
        except UserError as error:
            if on_error == "stop":
                raise
            skipped.append(Skipped(path.name, str(error)))
    if not scenes:
        raise UserError(f"{folder}: no image has a name of BBBC005 such as A01_C1_F1_s01_w1.")
    groups = sorted({scene.group for scene in scenes.values()})
    dealt = split_by_group(
        np.array(groups), shares or {"train": 0.7, "validation": 0.2, "test": 0.1}, seed
    )
    split_of = dict(zip(groups, dealt, strict=True))

    def order(path: Path) -> tuple:
        scene = scenes[path]
        return scene.count, scene.sample, scene.stain, scene.focus, path.name

    wanted = [
        path
        for path in sorted(scenes, key=order)
        if scenes[path].stain in stains and (blurs is None or scenes[path].focus in blurs)
    ]
    if not wanted:
        raise UserError(
            f"{folder}: no image has stains {list(stains)} and focus levels "
            f"{'of any kind' if blurs is None else list(blurs)}, set data.natural.stains and blurs "
            f"to some of {sorted({s.stain for s in scenes.values()})} and "
            f"{sorted({s.focus for s in scenes.values()})}"
        )
    rows = []
    for path in wanted:
        try:
            rows.append((path, *_read(path, masks.get(_key(scenes[path])), image_size, size)))
        except UserError as error:
            if on_error == "stop":
                raise
            skipped.append(Skipped(path.name, str(error)))
    if not rows:
        raise UserError(f"{folder}: no image could be loaded: {skipped[0].reason}")
    paths, images, read_masks = zip(*rows, strict=True)
    has_mask = np.array([mask is not None for mask in read_masks])
    none = np.zeros(sides(image_size), np.uint8)
    image_set = ImageSet(
        images=np.stack(images),
        counts=np.array([scenes[path].count for path in paths], np.float32),
        groups=np.array([scenes[path].group for path in paths]),
        names=np.array([path.relative_to(folder).as_posix() for path in paths]),
        splits=np.array([split_of[scenes[path].group] for path in paths]),
        masks=np.stack([none if m is None else m for m in read_masks]) if has_mask.any() else None,
        has_mask=has_mask if has_mask.any() else None,
    )
    train = image_set.splits == "train"
    keep = np.ones(len(image_set), bool)
    keep[train] = choose_labelled(
        image_set.counts[train], image_set.groups[train], labelled, seed
    )
    return hide_labels(image_set, keep), skipped


def _key(scene: Scene) -> tuple[int, int, int]:
    return scene.count, scene.sample, scene.stain


def _masks(folder: Path) -> dict[tuple[int, int, int], Path]:
    """Mask files by count, sample and stain; in focus comes first."""
    found: dict[tuple[int, int, int], tuple[int, Path]] = {}
    beside = folder.resolve().parent / _ORIGINAL_MASKS  # anybody may have a folder masks there
    for place in (folder / _MASKS, folder / _ORIGINAL_MASKS, beside):
        if found or not place.is_dir():
            continue
        for path in find_images([place]):
            scene = parse_name(path)
            if scene.focus < found.get(_key(scene), (np.inf, path))[0]:
                found[_key(scene)] = (scene.focus, path)
    return {key: path for key, (_, path) in found.items()}


def _read(
    path: Path, mask_path: Path | None, image_size: Size, size: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """An image, float32 in [0, 1], and its mask, uint8, in the model's size."""
    pixels = next(iter(read_frames(path))).pixels
    height, width = sides(image_size)
    if size == "error" and pixels.shape != (height, width):
        raise UserError(
            f"{path}: is {pixels.shape[1]} x {pixels.shape[0]} px (width x height), the model "
            f"takes {width} x {height}, set data.natural.size: resize"
        )
    image = resize(to_unit(pixels, name=str(path)), image_size)
    if mask_path is None:
        return image, None
    mask = read_mask(mask_path)
    if mask.shape != pixels.shape:
        raise UserError(
            f"{mask_path}: is {mask.shape[1]} x {mask.shape[0]} px, but {path.name} is "
            f"{pixels.shape[1]} x {pixels.shape[0]}, copy both again from their source"
        )
    return image, resize_mask((mask > 0).astype(np.uint8), image_size)
