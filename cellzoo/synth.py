"""``cellzoo synth``: a recipe's synthetic cells, or its simulated microscope's images, as files."""

import csv
import tempfile
from pathlib import Path

import cv2
import numpy as np

from cellzoo.data import microscope
from cellzoo.data.sets import natural_images, simulated_fluorescence, synthetic_cells
from cellzoo.data.synthetic import contact_sheet
from cellzoo.errors import UsageError, UserError
from cellzoo.recipe import Recipe


def synth(recipe: Recipe, out: Path, number: int, preview: bool, natural: bool) -> list[Path]:
    """Writes images and their ``labels.csv`` to a new folder.

    Simulated chambers are time-lapses: their ``time`` is in hours, their ``group`` the chamber.
    Simulated fluorescence images have a ``label_image`` each, 16 bit, which numbers the cells.

    Args:
        recipe: whose images.
        out: a folder that does not exist yet, or is empty.
        number: of images.
        preview: also write ``preview.png``, a contact sheet with the counts.
        natural: images as simulated for ``data.natural``, but of chambers or layouts that no split
            holds, instead of synthetic cells.

    Returns:
        The folder and, if asked for, the preview.

    Raises:
        UserError: the folder holds files, or the recipe has nothing of the kind.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds other files: choose another folder for -o.")
    images, counts, groups, hours, masks = (_natural if natural else _synthetic)(recipe, number)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when complete: a stopped command leaves no folder that looks whole.
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    partial.chmod(0o755)
    (partial / "images").mkdir()
    with (partial / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        header = ["image", "count", "group", "time"]
        writer.writerow(header if masks is None else [*header, "label_image"])
        rows = zip(images, counts, groups, hours, strict=True)
        for k, (image, count, group, time) in enumerate(rows):
            name = f"images/{'simulated' if natural else 'synthetic'}_{k:05d}.png"
            _write_image(partial / name, image)
            row = [name, int(count), group, time]
            if masks is not None:
                row.append(name.replace("images/", "labels/"))
                (partial / "labels").mkdir(exist_ok=True)
                _write_image(partial / row[-1], masks[k])
            writer.writerow(row)
    written = [out]
    if preview:
        _write_image(partial / "preview.png", contact_sheet(images, counts))
        written.append(out / "preview.png")
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return written


def _write_image(file: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(file), image):
        raise UserError(f"{file} cannot be written: is the disk full, or the folder read-only?")


# Images uint8 ``[n, h, w]``, counts, groups, hours, and masks uint16 ``[n, h, w]`` if there are.
_Pictures = tuple[np.ndarray, np.ndarray, list[str], list[str], np.ndarray | None]


def _synthetic(recipe: Recipe, number: int) -> _Pictures:
    section = recipe.data.synthetic
    if section is None:
        raise UsageError(
            f"{recipe.name} has no data.synthetic: choose another recipe, or --natural."
        )
    size = recipe.image_size
    natural = None
    if section.background == "natural":
        known = natural_images(
            recipe.data.natural, size, recipe.seed, splits=("train", "validation")
        )
        natural = known[0].of("train")
    controls = section.model_dump(exclude={"images", "fresh"})
    cells = synthetic_cells(**controls, natural=natural, image_size=size)
    images, counts = cells.render(number, (recipe.seed, 0))
    groups = [str(k) for k in range(number)]
    return np.round(images * 255).astype(np.uint8), counts, groups, [""] * number, None


def _natural(recipe: Recipe, number: int) -> _Pictures:
    section = recipe.data.natural
    if section.source == "simulated_fluorescence":
        arguments = section.model_dump(exclude={"source"}) | {"train": number}
        seed = (recipe.seed, 99)
        drawn = simulated_fluorescence(
            **arguments, image_size=recipe.image_size, seed=seed, splits=("train",)
        )
        images = np.round(drawn.images * 255).astype(np.uint8)
        groups = [str(k) for k in range(number)]
        return images, drawn.counts, groups, [""] * number, drawn.masks
    if section.source != "simulated":
        raise UsageError(f"{recipe.name} has natural images of its own: leave --natural out.")
    images = microscope.simulate_set(
        section.modality, number, (recipe.seed, 99), prefix=f"{section.modality}_synth"
    )
    hours = [f"{hour:.2f}" for hour in images.hours]
    return images.images, images.counts, images.groups, hours, None
