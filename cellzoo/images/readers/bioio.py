"""Formats that cellzoo does not read itself, through bioio and the plug-ins a user installed."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cellzoo.images import metadata
from cellzoo.images.imagefile import ImageFile, Series


def installed() -> bool:
    """Whether bioio is there."""
    return importlib.util.find_spec("bioio") is not None


def open_bioio(path: Path, stored: bool) -> ImageFile:
    """A file that one of bioio's plug-ins reads; its scenes are positions."""
    import bioio  # seconds: it brings xarray and dask

    image = bioio.BioImage(path)
    scenes = list(image.scenes)
    series = [_series(image, scene, number) for number, scene in enumerate(scenes)]
    return ImageFile(path, "bioio", series)


def _series(image: object, scene: str, number: int) -> Series:
    image.set_scene(scene)
    sizes = {letter: int(getattr(image.dims, letter)) for letter in image.dims.order}
    outer = [letter for letter in sizes if letter not in "YXS"]
    inner = "".join(letter for letter in "YXS" if letter in sizes)
    if sizes.get("S", 3) > 3:
        sizes["S"] = 3

    def read(place: Mapping[str, int]) -> np.ndarray:
        image.set_scene(scene)
        picture = image.get_image_dask_data(inner, **{k: place[k] for k in outer}).compute()
        return picture[..., :3] if picture.ndim == 3 else picture

    names = tuple(map(str, image.channel_names or ()))
    return Series(
        sizes={letter: sizes[letter] for letter in [*outer, *inner]},
        dtype=np.dtype(image.dtype),
        read=read,
        name=str(scene),
        number=number,
        channels=names if len(names) == sizes.get("C", 1) else (),
        pixel_size_um=metadata.micrometres(image.physical_pixel_sizes.X),
    )
