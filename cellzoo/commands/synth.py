"""``cellzoo synth``: a recipe's synthetic cells, or its simulated microscope's images, as files.

With ``--match`` it writes the recipe anew, with cells that look like the recipe's natural images.
"""

import csv
import logging
import math
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.data.synthetic_fluorescence import SyntheticFluorescence
from cellzoo.errors import UsageError, UserError
from cellzoo.files import check_new_file, write_atomically
from cellzoo.recipe import Recipe, with_values
from cellzoo.simulators.experiment import simulate_experiment
from cellzoo.synthetic.matching import match
from cellzoo.synthetic.settings import Synthetic
from cellzoo.synthetic.sheet import contact_sheet

log = logging.getLogger("cellzoo")

# From so few labels no distribution of counts can be told.
_MIN_LABELS = 20


def synth(recipe: Recipe, out: Path, number: int, preview: bool, natural: bool) -> list[Path]:
    """Writes images and their ``labels.csv`` to a new folder.

    Simulated chambers are time-lapses: their ``time`` is in hours, their ``group`` the chamber.
    Simulated fluorescence images have a ``label_image`` each, 16 bit, which numbers the cells.

    Args:
        recipe: whose images.
        out: a folder that does not exist yet, or is empty.
        number: of images.
        preview: also write a contact sheet with the counts, ``OUT_preview.png`` beside the folder:
            inside it would be counted, and trained on, with the images.
        natural: images as simulated for ``data.natural``, but of chambers or layouts that no split
            holds, instead of synthetic cells.

    Returns:
        The folder and, if asked for, the preview.

    Raises:
        UserError: the folder holds files, the preview is there already, or the recipe has nothing
            of the kind.
    """
    if not out.name:
        raise UserError(f"-o {out} is the folder that you are in: name one for the images.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds other files: choose another folder for -o.")
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet = out.with_name(f"{out.name}_preview.png")
    if preview:
        check_new_file(sheet)
    images, counts, groups, hours, masks = (_natural if natural else _synthetic)(recipe, number)
    # Renamed when complete: a stopped command leaves no folder that looks whole.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        partial = Path(temporary) / "complete"
        (partial / "images").mkdir(parents=True)
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
        if out.exists():
            out.rmdir()
        partial.rename(out)
    if not preview:
        return [out]
    _write_image(sheet, contact_sheet(images, counts))
    return [out, sheet]


# Of the chambers of a simulated experiment.
_DOUBLING_HOURS = (12.0, 16.0, 20.0, 24.0, 30.0, 40.0)


def synth_experiment(recipe: Recipe, out: Path, frames: int) -> list[Path]:
    """Writes a simulated time-lapse of a field of view with six chambers, a frame every hour.

    Cells double in 12 to 40 hours. ``truth/`` has these times, the boxes and the counts.

    Args:
        recipe: of the simulated microscope; its modality and seed are taken.
        out: a folder that does not exist yet, or is empty.
        frames: number of frames.

    Returns:
        The OME-TIFF, and the folder of the truth.

    Raises:
        UserError: the folder holds files.
        UsageError: the recipe is not of the simulated microscope.
    """
    modality = getattr(recipe.data.natural, "modality", None)
    if modality is None:
        raise UsageError(
            f"{recipe.name} has no simulated chambers: take --experiment with twindensity_pc or "
            "twindensity_bf."
        )
    made = simulate_experiment(
        modality, frames, recipe.seed, doubling_hours=_DOUBLING_HOURS, interval_minutes=60.0
    )
    return [made.write(out), out / "truth"]


def _write_image(file: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(file), image):
        raise UserError(f"{file} cannot be written: is the disk full, or the folder read-only?")


# Images uint8 ``[n, h, w]``, counts, groups, hours, and masks uint16 ``[n, h, w]`` if there are.
_Pictures = tuple[np.ndarray, np.ndarray, list[str], list[str], np.ndarray | None]


def _synthetic(recipe: Recipe, number: int) -> _Pictures:
    section = _section(recipe)
    natural = None
    if section.background in ("natural", "groups"):
        natural = _training_images(recipe)
    cells = recipe.data.cells(recipe.image_size, natural)
    images, counts = cells.render(number, (recipe.seed, 0))
    groups = [str(k) for k in range(number)]
    return np.round(images * 255).astype(np.uint8), counts, groups, [""] * number, None


def _section(recipe: Recipe) -> Synthetic | SyntheticFluorescence:
    if recipe.data.synthetic is None:
        natural = "" if recipe.data.natural.reads_files else ", or --natural"
        raise UsageError(f"{recipe.name} has no data.synthetic: choose another recipe{natural}.")
    return recipe.data.synthetic


def _training_images(recipe: Recipe) -> ImageSet:
    images, _ = recipe.data.natural.load(recipe.image_size, recipe.seed, ("train",))
    return images.of("train")


def match_recipe(
    recipe: Recipe, out: Path, number: int = 36, preview: bool = False, **search: Any
) -> list[Path]:
    """Writes a recipe whose synthetic cells look like its natural training images.

    Counts stay as the recipe has them in ``count_range``. If it has none, they are those of the
    labels or, with fewer than 20 of these, found with the look of the cells.

    Args:
        recipe: whose natural images, and whose other settings.
        out: the YAML file to write.
        number: of images in the preview, of either kind.
        preview: also write natural images above drawn ones, a PNG beside the recipe.
        **search: ``generations`` and ``workers`` of :func:`cellzoo.synthetic.matching.match`.

    Returns:
        The files.

    Raises:
        UserError: a file is there already, or no cells are nearer than the recipe's own.
        UsageError: the recipe draws no cells.
    """
    section = _section(recipe)
    if not isinstance(section, Synthetic):
        raise UsageError(
            f"{recipe.name} draws cells of the preset {section.preset}, whose settings --match "
            "does not find: choose the preset bf or pc."
        )
    files = [out, out.with_suffix(".png")][: 1 + preview]
    out.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        check_new_file(file)
    natural = _training_images(recipe)
    cells = recipe.data.cells(recipe.image_size, natural)
    settled = _counts(section, natural.counts)
    find_counts = section.count_range is None and not settled
    if section.background is None:
        settled |= _window(section)
    found = match(natural.images, cells, settled, find_counts, recipe.seed, **search)
    distances = f"{found.before:.2f} -> {found.after:.2f}"
    floor = "not known, they are few" if math.isnan(found.floor) else f"{found.floor:.2f}"
    log.info(
        "distance of the drawn images from the natural ones: %s "
        "(two halves of the natural ones: %s)", distances, floor,
    )  # fmt: skip
    if not found.after < found.before:
        raise UserError(
            f"No cells nearer to the natural images than those of {recipe.name} were found: "
            "nothing was written."
        )
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in found.settings.items()}
    matched = with_values(recipe, {f"data.synthetic.{key}": v for key, v in plain.items()})
    header = [
        f"{recipe.name}, its synthetic cells matched to {len(natural)} natural training images",
        f"distance {distances}, two halves of the natural images {floor}; changed:",
        *recipe.differences(matched),
    ]
    text = "".join(f"# {line}\n" for line in header) + matched.to_yaml()
    if preview:
        some = np.random.default_rng(recipe.seed).permutation(len(natural))[:number]
        sheets = [
            contact_sheet(natural.images[some], natural.counts[some]),
            contact_sheet(*matched.data.cells(matched.image_size, natural).render(number, 0)),
        ]
        _write_image(files[1], np.concatenate(sheets))
    write_atomically(out, text)
    return files


def _counts(section: Synthetic, counts: np.ndarray) -> dict[str, Any]:
    """How often to draw each count, as in labels ``[n]``, NaN where there is none; or nothing."""
    labels = counts[np.isfinite(counts)].round().astype(int)
    if section.count_range is not None or len(labels) < _MIN_LABELS:
        return {}
    # More than the labels show, as a few labels do not show the rarest.
    most = math.ceil(1.2 * labels.max()) + 1
    often = np.convolve(np.bincount(labels, minlength=most + 1), [0.25, 0.5, 0.25], "same")
    weights = 1 + np.round(200 * often / often.sum()).astype(int)
    return {"count_range": (0, most), "count_weights": weights.tolist()}


def _window(section: Synthetic) -> dict[str, Any]:
    """What an image that is a window of something larger shows, where a recipe says nothing.

    Its border cuts cells, and some cells touch. Neither can be told from single things.
    """
    usual = {"margins": (-3, -3, -3, -3), "clumping": 0.2, "overlap": 1.5}
    unset = {key for key, value in section if value is None}
    return {key: value for key, value in usual.items() if key in unset}


def _natural(recipe: Recipe, number: int) -> _Pictures:
    section = recipe.data.natural
    if section.reads_files:
        raise UsageError(f"{recipe.name} has natural images of its own: leave --natural out.")
    made = section.simulate(number, recipe.image_size, recipe.seed)
    images = np.round(made.images * 255).astype(np.uint8)
    if made.times is None:
        groups, hours = [str(k) for k in range(number)], [""] * number
    else:
        groups, hours = made.groups.tolist(), [f"{hour:.2f}" for hour in made.times]
    return images, made.counts, groups, hours, made.masks
