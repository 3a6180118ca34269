"""The forms of label files: one line in the table and one function each."""

from collections.abc import Callable
from dataclasses import dataclass

from cellzoo.labelling.forms import (
    cell_counter,
    cellprofiler,
    coco,
    fiji,
    label_images,
    napari,
    ours,
    qupath,
    rois,
    twinvae,
)
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings


@dataclass(frozen=True)
class Form:
    """A form of label files.

    Attributes:
        name: for a sentence.
        recognises: whether a file is of the form, by its content.
        read: what it says of images.
    """

    name: str
    recognises: Callable[[LabelFile], bool]
    read: Callable[[LabelFile, Surroundings], list[Labelled]]


# Asked from top to bottom: first what is no table, then tables by their header.
FILES = (
    Form("ROI files of ImageJ", rois.recognises, rois.read),
    Form("label images", label_images.recognises, label_images.read),
    Form("XML of ImageJ's Cell Counter", cell_counter.recognises, cell_counter.read),
    Form("COCO JSON", coco.recognises, coco.read),
)
TABLES = (
    Form("tables image,count", ours.is_labels, ours.read_labels),
    Form("tables image,x,y", ours.is_points, ours.read_points),
    Form("tables of napari", napari.recognises, napari.read),
    Form("tables of CellProfiler", cellprofiler.recognises, cellprofiler.read),
    Form("tables of QuPath", qupath.recognises, qupath.read),
    Form("Summary tables of Fiji", fiji.is_summary, fiji.read_summary),
    Form("Results tables of Fiji", fiji.is_results, fiji.read_results),
    Form("tables of the Twin-VAE's authors", twinvae.recognises, twinvae.read),
)
