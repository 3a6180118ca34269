"""BBBC005 (Broad Bioimage Benchmark Collection): simulated fluorescence cells, counts in the names.

``SIMCEPImages_A01_C1_F1_s01_w1.TIF`` is well A01, 1 cell, focus level 1 (the higher, the more
blurred), sample 1, stain 1 (nuclei; 2: cell bodies). All images of one count and sample show the
same layout of cells. Read are the original folders, ``BBBC005_v1_images`` with
``BBBC005_v1_ground_truth`` beside it, and a folder with ``images/`` and ``masks/``; names may lack
``SIMCEPImages_`` and end in .png.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from cellzoo.data.image_set import SPLITS, ImageSet, Skipped
from cellzoo.data.reading import Reading
from cellzoo.data.sources.source import Source, check_folder, in_splits, keep_labels
from cellzoo.data.splits import split_by_group
from cellzoo.errors import UserError
from cellzoo.images import Size, find_images, read_frames, read_mask, resize_mask, sides
from cellzoo.section import Seed, Shares

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


class BBBC005(Source):
    """The images of BBBC005, their counts, masks and a split by layout.

    The split is dealt out over all layouts of the folder, whatever stains and blurs are chosen: a
    model trained on one stain may be tested on the other. A mask belongs to its layout and stain:
    that of the image in focus serves all focus levels.

    Attributes:
        folder: see the module.
        stains: which of them: 1 nuclei, 2 cell bodies.
        blurs: which focus levels; None: all of them.
        labelled: how many training images (or which share of them) keep their count; None: all.
        shares: of train, validation and test, by layouts; None: 0.7, 0.2 and 0.1 (DeepCellCount,
            section 3.1).
        split_seed: deals the layouts out, so that other seeds train on the same splits; None: the
            recipe's seed.
        size: what to do with images of another size than the model takes: stop, or resize them.
        on_error: stop at a file that cannot be read, or skip it.
    """

    simulated: ClassVar[bool] = True

    source: Literal["bbbc005"] = "bbbc005"
    folder: str
    stains: Annotated[list[Literal[1, 2]], Field(min_length=1)] = [1, 2]
    blurs: Annotated[list[PositiveInt], Field(min_length=1)] | None = None
    labelled: PositiveInt | Annotated[float, Field(gt=0, le=1)] | None = None
    shares: Shares | None = None
    split_seed: Seed | None = None
    size: Literal["error", "resize"] = "error"
    on_error: Literal["stop", "skip"] = "stop"
    copies: Literal["error", "allow"] = "error"

    @property
    def allows_copies(self) -> bool:
        """Whether images of different splits may show the same."""
        return self.copies == "allow"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The one."""
        return (Path(self.folder),)

    @property
    def skips_broken_files(self) -> bool:
        """As the recipe says."""
        return self.on_error == "skip"

    @property
    def reading(self) -> Reading:
        """Files are resized as the recipe says, all from one size."""
        return Reading(resize=self.size == "resize", original_size=ORIGINAL_SIZE)

    @property
    def microscopy(self) -> str:
        """Simulated fluorescence."""
        return "simulated fluorescence"

    def describe(self) -> str:
        """Simulated fluorescence, BBBC005."""
        return "simulated fluorescence, BBBC005"

    def check_files(self) -> None:
        """The folder, see :meth:`Source.check_files`."""
        check_folder(self.folder)

    def read(
        self, size: Size, seed: int, splits: Sequence[str] = SPLITS
    ) -> tuple[ImageSet, list[Skipped]]:
        """Reads files in the order of count, sample, stain and focus; see :meth:`Source.read`.

        Raises:
            UserError: a name or an image cannot be used, or nothing has the stains and blurs.
        """
        folder = check_folder(self.folder)
        masks = _masks(folder)
        scenes, skipped = self._scenes(folder, masks)
        groups = sorted({scene.group for scene in scenes.values()})
        shares = self.shares or {"train": 0.7, "validation": 0.2, "test": 0.1}
        dealt_by = seed if self.split_seed is None else self.split_seed
        dealt = split_by_group(np.array(groups), shares, dealt_by)
        split_of = dict(zip(groups, dealt, strict=True))
        rows = []
        for path in self._wanted(folder, scenes):
            try:
                mask = masks.get(_key(scenes[path]))
                rows.append((path, *_read(path, mask, size, self.reading)))
            except UserError as error:
                if not self.skips_broken_files:
                    raise
                skipped.append(Skipped(path.name, str(error)))
        if not rows:
            raise UserError(f"{folder}: no image could be loaded: {skipped[0].reason}")
        paths, images, read_masks = zip(*rows, strict=True)
        has_mask = np.array([mask is not None for mask in read_masks])
        none = np.zeros(sides(size), np.uint8)
        read_masks = [none if mask is None else mask for mask in read_masks]
        image_set = ImageSet(
            images=np.stack(images),
            counts=np.array([scenes[path].count for path in paths], np.float32),
            groups=np.array([scenes[path].group for path in paths]),
            names=np.array([path.relative_to(folder).as_posix() for path in paths]),
            splits=np.array([split_of[scenes[path].group] for path in paths]),
            masks=np.stack(read_masks) if has_mask.any() else None,
            has_mask=has_mask if has_mask.any() else None,
            kinds=np.array([f"stain {scenes[path].stain}" for path in paths]),
        )
        return in_splits(keep_labels(image_set, self.labelled, seed), splits), skipped

    def _scenes(
        self, folder: Path, masks: dict[tuple[int, int, int], Path]
    ) -> tuple[dict[Path, Scene], list[Skipped]]:
        """What the names of the images say, and files with other names."""
        mask_folders = {path.parent.resolve() for path in masks.values()}
        scenes, skipped = {}, []
        for path in find_images([folder]):
            its_folder = path.parent
            if its_folder.resolve() in mask_folders or its_folder.name in (_MASKS, _ORIGINAL_MASKS):
                continue
            try:
                scenes[path] = parse_name(path)
            except UserError as error:
                if not self.skips_broken_files:
                    raise
                skipped.append(Skipped(path.name, str(error)))
        if not scenes:
            raise UserError(f"{folder}: no image has a name of BBBC005 such as A01_C1_F1_s01_w1.")
        return scenes, skipped

    def _wanted(self, folder: Path, scenes: dict[Path, Scene]) -> list[Path]:
        """The files with the stains and focus levels asked for, in order."""

        def order(path: Path) -> tuple:
            scene = scenes[path]
            return scene.count, scene.sample, scene.stain, scene.focus, path.name

        wanted = [
            path
            for path in sorted(scenes, key=order)
            if scenes[path].stain in self.stains
            and (self.blurs is None or scenes[path].focus in self.blurs)
        ]
        if not wanted:
            raise UserError(
                f"{folder}: no image has stains {self.stains} and focus levels "
                f"{'of any kind' if self.blurs is None else self.blurs}, set data.natural.stains "
                f"and blurs to some of {sorted({s.stain for s in scenes.values()})} and "
                f"{sorted({s.focus for s in scenes.values()})}"
            )
        return wanted


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
    path: Path, mask_path: Path | None, size: Size, reading: Reading
) -> tuple[np.ndarray, np.ndarray | None]:
    """An image, float32 in [0, 1], and its mask, uint8, in the model's size."""
    pixels = next(iter(read_frames(path))).pixels
    image = reading.fit(pixels, size, path)
    if mask_path is None:
        return image, None
    mask = read_mask(mask_path)
    if mask.shape != pixels.shape:
        raise UserError(
            f"{mask_path}: is {mask.shape[1]} x {mask.shape[0]} px, but {path.name} is "
            f"{pixels.shape[1]} x {pixels.shape[0]}, copy both again from their source"
        )
    return image, resize_mask((mask > 0).astype(np.uint8), size)
