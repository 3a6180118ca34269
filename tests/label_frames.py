"""Small images to label, which several tests use."""

import cv2
import numpy as np

from cellzoo.data.folder import files_by_name
from cellzoo.data.labels import Table, read_labels
from cellzoo.labelling.catalogue import catalogue


def write_images(folder, groups=6, each=4, side=32):
    """Pictures such as ``well2_t3.png``, brighter from well to well."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for group in range(groups):
        for step in range(each):
            pixels = draw.integers(20 * group, 20 * group + 60, (side, side)).astype(np.uint8)
            cv2.imwrite(str(folder / f"well{group}_t{step}.png"), pixels)
    return folder


def catalogue_of(folder, **options):
    """The frames of a folder, with its labels."""
    file = folder / "labels.csv"
    table = read_labels(file) if file.is_file() else Table({}, set())
    files = [(name, folder / name) for name, _ in files_by_name(folder, folder, table)]
    return catalogue(files, table, **options)
