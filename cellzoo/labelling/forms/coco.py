"""COCO JSON: boxes or key points."""

import json
import math
from collections.abc import Sequence

from cellzoo.data.points import Point
from cellzoo.labelling.dotted import Dotted
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings

_HALF_PIXEL = 0.5  # boxes are measured from the corner of the first pixel


def recognises(file: LabelFile) -> bool:
    """Whether it is a JSON object."""
    return file.head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Every annotation is a cell; its category is its class.

    An image without annotations counts 0; one with an annotation of a crowd is unlabelled.
    """
    try:
        content = json.loads(file.path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise file.refused(None, f"is no whole JSON ({error}), save it again") from error
    try:
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        kinds = {kind["id"]: str(kind["name"]) for kind in content.get("categories") or []}
        of: dict[object, list[dict]] = {number: [] for number in names}
        for annotation in content["annotations"]:
            of[annotation["image_id"]].append(annotation)
        if len(names) < len(content["images"]):
            raise file.refused(None, "gives two images the same id, correct it")
        labels = [
            _labelled(file, around, names[number], annotations, kinds)
            for number, annotations in of.items()
        ]
    except KeyError as error:
        raise file.refused(
            None,
            f"is no COCO file, it lacks {error}: export images and annotations as COCO",
        ) from error
    except (TypeError, AttributeError, ValueError) as error:
        raise file.refused(None, f"is no COCO file ({error}), export it again") from error
    zeros = sum(label.count == 0 for label in labels)
    if zeros:
        around.note(
            f"{file.path.name} has {zeros} images without annotations, which count 0: empty their "
            "counts in the table if nobody annotated them."
        )
    return labels


def _labelled(
    file: LabelFile,
    around: Surroundings,
    name: str,
    annotations: list[dict],
    kinds: dict[object, str],
) -> Labelled:
    image = around.named(file, None, name)
    if any(annotation.get("iscrowd") for annotation in annotations):
        around.note(f"{name} has an annotation of a crowd, whose cells nobody counted: unlabelled.")
        return Labelled(image, None, math.nan, (file.path, None))
    cells = [
        _cell(annotation, kinds.get(annotation.get("category_id"), ""))
        for annotation in annotations
    ]
    known = None if None in cells else [cell for cell in cells if cell is not None]
    return Labelled(image, None, float(len(annotations)), (file.path, None), known)


def _cell(annotation: dict, kind: str) -> Point | None:
    """The middle of the visible key points, else of the box."""
    numbers = annotation.get("keypoints") or []
    points = [numbers[k : k + 3] for k in range(0, len(numbers), 3)]
    seen = [(float(x), float(y)) for x, y, visible in points if visible]
    if seen:
        x, y = (sum(axis) / len(seen) for axis in zip(*seen, strict=True))
        return Point(x, y, kind)
    box = annotation.get("bbox")
    if not box:
        return None
    left, top, width, height = map(float, box)
    return Point(left + width / 2 - _HALF_PIXEL, top + height / 2 - _HALF_PIXEL, kind)


def write(dotted: Sequence[Dotted]) -> str:
    """An annotation with one key point for each cell; images are named as in our table."""
    kinds = dict.fromkeys(
        cell.kind for image in dotted for cells in image.cells.values() for cell in cells
    )
    numbers = {kind: number for number, kind in enumerate(kinds or [""], 1)}
    images, annotations = [], []
    for image in dotted:
        if image.layout.frames > 1:
            raise image.refused("has several frames, which COCO cannot name, save them apart")
        layout = image.layout
        number = len(images) + 1
        images.append(
            {"id": number, "file_name": image.name, "width": layout.width, "height": layout.height}
        )
        for cell in (cell for cells in image.cells.values() for cell in cells):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": numbers[cell.kind],
                    "keypoints": [cell.x, cell.y, 2],  # 2: visible
                    "num_keypoints": 1,
                    "bbox": [cell.x, cell.y, 0, 0],
                    "area": 0,
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": number, "name": kind or "cell", "keypoints": ["middle"], "skeleton": []}
        for kind, number in numbers.items()
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, ensure_ascii=False, indent=1)
