"""Finds the cultivation chambers in a field of view that look like a picture of one."""

import math
from dataclasses import replace

import cv2
import numpy as np

from cellzoo.timelapse.chambers.find import Box, rotation
from cellzoo.timelapse.chambers.registration import blurred, masked_correlation

_TEMPLATE = 96  # px, longest side at which a template is looked for
_RIM = 0.15  # of its sides that count
_LIKE = 0.4  # correlation from which something is like it
_LIKE_BEST = 0.6  # of the best correlation, likewise


def find_alike(field: np.ndarray, template: np.ndarray) -> list[Box]:
    """Chambers that look like a picture of one, whose inside does not count.

    Args:
        field: ``[height, width]``, any grey type.
        template: ``[h, w]``, a chamber with its walls, of the same pixel size.

    Returns:
        Boxes of the template's size, the likeliest first; none where nothing is like it.
    """
    height, width = template.shape
    if height > field.shape[0] or width > field.shape[1]:
        return []
    scale = min(1.0, _TEMPLATE / max(template.shape))
    small, model = (
        cv2.resize(
            np.asarray(p, np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
        for p in (field, template)
    )
    small = small - blurred(small, max(model.shape))
    model = model - model.mean()
    rim = np.ones(model.shape, np.float32)
    inner = [round(_RIM * n) for n in model.shape]
    rim[inner[0] : -inner[0], inner[1] : -inner[1]] = 0
    best: list[tuple[float, float, float, float]] = []
    for angle in np.arange(-4.0, 4.1, 1.0):
        matrix = cv2.getRotationMatrix2D(
            ((model.shape[1] - 1) / 2, (model.shape[0] - 1) / 2), -angle, 1
        )
        turned, there = (cv2.warpAffine(p, matrix, model.shape[::-1]) for p in (model, rim))
        surface = masked_correlation(turned, (there > 0.5).astype(np.float32), small)
        surface = surface[model.shape[0] - 1 : small.shape[0], model.shape[1] - 1 : small.shape[1]]
        near = cv2.dilate(surface, np.ones([max(3, n // 2) for n in model.shape], np.uint8))
        for y, x in zip(*np.nonzero((surface >= near) & (surface > _LIKE)), strict=True):
            best.append((float(surface[y, x]), float(x), float(y), float(angle)))
    best.sort(reverse=True)
    if not best:
        return []
    alike = [one for one in best if one[3] == best[0][3] and one[0] >= _LIKE_BEST * best[0][0]]
    boxes: list[Box] = []
    for score, x, y, angle in alike:
        # Half a pixel of the small picture is several of the field: settle that there.
        box = Box(x / scale, y / scale, width, height, angle, score)
        box = _nearest(field, template, box, math.ceil(1.5 / scale))
        if all(abs(box.x - o.x) > width / 2 or abs(box.y - o.y) > height / 2 for o in boxes):
            boxes.append(box)
    return boxes


def _nearest(field: np.ndarray, template: np.ndarray, box: Box, reach: int) -> Box:
    """The box where it agrees best with the template, some px around."""
    height, width = template.shape
    mask = np.ones(template.shape, np.float32)
    inner = [round(_RIM * n) for n in template.shape]
    mask[inner[0] : -inner[0], inner[1] : -inner[1]] = 0
    turn = rotation(box.angle)
    size = (width + 2 * reach, height + 2 * reach)
    first = box.middle - 0.5 - turn @ ((np.array(size) - 1) / 2)
    around = cv2.warpAffine(
        np.asarray(field, np.float32), np.concatenate([turn, first[:, None]], 1), size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    surface = masked_correlation(np.asarray(template, np.float32), mask, around)
    surface = surface[height - 1 : height + 2 * reach, width - 1 : width + 2 * reach]
    y, x = np.unravel_index(np.argmax(surface), surface.shape)
    dx, dy = turn @ np.array([x - reach, y - reach])
    return replace(box, x=box.x + dx, y=box.y + dy, score=float(surface[y, x]))
