"""Crowds made of dotted images: cells of one are laid over another."""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.sparse.csgraph import connected_components

from cellzoo.data.image_set import ImageSet
from cellzoo.errors import UserError

_FADE = 1.5  # pixels over which a copy ends
_DIMMER = 0.03  # grey levels, so that what is not cell in a copy stays below its new background


class Overlay:
    """Lays clusters of cells of dotted images over other images, at other places.

    Where cells are bright on a dark background and not much brighter together, the brighter pixel
    shows: one cell hides another. Crowds then hide each other in ever new ways, and a network
    learns what is under them instead of the training images by heart.

    Args:
        images: whose cells are copied; those without points are left out.
        diameter: of a cell with its blur in pixels. Cells whose dots are nearer to each other are
            copied together.

    Raises:
        UserError: the images have masks or no dots, or cells are not brighter than what is around.
    """

    def __init__(self, images: ImageSet, diameter: int):
        """Finds clusters."""
        where = f"augment.overlay is {diameter}, which"
        if images.masks is not None or not images.has_points.any():
            have = "masks" if images.masks is not None else "no dots"
            raise UserError(
                f"{where} adds up dots, but training images have {have}: set it to null, or give "
                "images points.csv and no masks."
            )
        self.diameter, self.shape = diameter, images.images.shape[1:]
        self.sources = []
        above = []
        for number in np.flatnonzero(images.has_points):
            image, points = images.images[number], images.points[number]
            level = image - self._background(image)
            near = np.linalg.norm(points[:, None] - points, axis=-1) < diameter
            cluster = connected_components(near)[1] if len(points) else np.zeros(0, int)
            whole = self._whole(points, cluster)
            self.sources.append((level, points[whole], cluster[whole]))
            rows, columns = (np.rint(points[:, axis]).astype(int) for axis in (1, 0))
            above.append(level[rows, columns] - np.median(level))
        above = np.concatenate(above)
        if len(above) and np.median(above) <= _DIMMER:
            raise UserError(
                f"{where} is for cells that are brighter than their background, and those of the "
                "training images are not: set it to null."
            )

    def __call__(
        self,
        images: np.ndarray,
        points: Sequence[np.ndarray | None],
        random: np.random.Generator,
    ) -> tuple[np.ndarray, list[np.ndarray | None]]:
        """New images and their points, of the batch of a step.

        Args:
            images: float32 ``[n, h, w]`` in [0, 1], of the size of those that are copied.
            points: of each image ``[k, 2]``, x before y; None where they are not known. Such an
                image stays as it is.
            random: of what is drawn: the source, its mirror image, none to all of its clusters,
                and where they go.
        """
        images, points = images.copy(), list(points)
        height, width = self.shape
        for k, own in enumerate(points):
            if own is None:
                continue
            level, dots, cluster = self.sources[random.integers(len(self.sources))]
            if random.random() < 0.5:
                level, dots = level[:, ::-1], [width - 1, 0] + dots * [-1, 1]
            if random.random() < 0.5:
                level, dots = level[::-1], [0, height - 1] + dots * [1, -1]
            shift = random.integers(0, (width, height))
            level = np.roll(level, shift[::-1], axis=(0, 1))
            dots = (dots + shift) % (width, height)
            chosen = random.random(cluster.max(initial=-1) + 1) < random.random()
            taken = dots[chosen[cluster] & self._whole(dots, cluster)]
            mask = np.zeros((height, width), np.float32)
            for x, y in taken:
                cv2.circle(mask, (round(float(x)), round(float(y))), self.diameter // 2 + 1, 1, -1)
            copy = np.maximum(level - _DIMMER, 0) * cv2.GaussianBlur(mask, (0, 0), _FADE)
            images[k] = np.maximum(images[k], self._background(images[k]) + copy)
            points[k] = np.concatenate([own, taken]).astype(np.float32)
        return np.clip(images, 0, 1, out=images), points

    def _whole(self, dots: np.ndarray, cluster: np.ndarray) -> np.ndarray:
        """Which dots, ``[k]``, belong to clusters of which the border cuts no cell."""
        room, ends = self.diameter / 2, np.array(self.shape[::-1]) - 1
        cut = ~((dots >= room) & (dots <= ends - room)).all(axis=1)
        return ~np.isin(cluster, cluster[cut])

    def _background(self, image: np.ndarray) -> np.ndarray:
        """Grey levels without the cells, ``[h, w]``, nowhere above the image where it is even."""
        side = 2 * self.diameter - 1
        return cv2.GaussianBlur(cv2.erode(image, np.ones((side, side))), (0, 0), self.diameter)
