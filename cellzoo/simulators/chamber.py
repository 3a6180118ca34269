"""A simulated cultivation chamber: its walls, specks, light and camera."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from cellzoo.simulators.culture import BLEBS, MODES, ORGANELLES, VESICLES, Looks
from cellzoo.simulators.optics import PATCH, WINDOW, light_behind, phase_maps
from cellzoo.simulators.scene import CANVAS, DESIGN, EDGE, FINE, Modality

MASK_SCALE = 4  # samples per px of the chamber's outline


@dataclass
class Chamber:
    """One chamber under the microscope: its walls, specks, light and camera."""

    kind: Modality
    rng: np.random.Generator
    scene: np.ndarray = field(init=False)  # float32 [canvas, canvas], grey level without cells

    def __post_init__(self) -> None:
        rng, kind = self.rng, self.kind
        self.plate = rng.uniform(0.6, 0.8) if kind.code else 0.0
        self.contrast = rng.uniform(*kind.contrast)
        self.focus = rng.normal(0, 1.5)
        self.walk = rng.normal(0, 0.35, 2)  # px: the crop's standing error
        level = rng.normal(*kind.background)
        distance = signed_distance(channels(kind, rng))
        wall = bright_field_wall if kind.code == 0 else phase_contrast_wall
        scene = cv2.resize(wall(distance, rng), (CANVAS, CANVAS), interpolation=cv2.INTER_AREA)
        self.scene = level * scene * self._illumination()
        self._add_specks(rng.integers(8, 20), 0.35)
        self._add_specks(rng.integers(1, 4), 0.8)

    def _illumination(self) -> np.ndarray:
        """Uneven light and faint mottling of the chip, around 1."""
        axis = np.linspace(-1, 1, CANVAS, dtype=np.float32)
        a, b, c = self.rng.normal(0, 0.012, 3)
        field_ = 1 + a * axis[:, None] + b * axis[None] + c * (axis[:, None] ** 2 + axis**2 - 0.6)
        coarse = self.rng.normal(0, 0.006, (18, 18)).astype(np.float32)
        fine = self.rng.normal(0, 0.005, (74, 74)).astype(np.float32)
        for mottle in (coarse, fine):
            field_ = field_ + cv2.resize(mottle, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
        return field_.astype(np.float32)

    def _add_specks(self, n: int, strength: float) -> None:
        """Smudges on the chip: small faint circles, out of focus, anywhere. They are not cells."""
        rng = self.rng
        radii = rng.uniform(0.9, 2.4, n)
        looks = Looks(
            positions=rng.uniform(4, DESIGN - 4, (n, 2)),
            radii=radii,
            depths=rng.choice([-1, 1], n) * rng.uniform(4, 16, n),
            phases=strength * rng.uniform(0.4, 1.2, n) * rng.choice([-1, -1, -1, 1], n),
            contours=rng.normal(0, 0.04, (n, len(MODES))) * (1 + 0j),
            blebs=np.tile([0.0, 0.0, 0.2], (n, BLEBS, 1)),
            blobs=np.tile([0.0, 0.0, 0.2, 0.0], (n, ORGANELLES + VESICLES, 1)),
            membranes=np.full(n, 0.1),
        )
        self._add(self.scene, looks, 0.6)

    def _add(self, canvas: np.ndarray, looks: Looks, contrast: float,
             labels: np.ndarray | None = None) -> None:  # fmt: skip
        """Send the canvas's light through objects, in place; write instance numbers if asked."""
        if not len(looks.radii):
            return
        place = (looks.positions[:, ::-1] + EDGE) * FINE  # y, x
        whole = np.round(place).astype(int)
        phase, relative = phase_maps(looks)
        light = light_behind(phase, looks.depths + self.focus, place - whole, self.kind, self.plate)
        # Detectors and lenses limit what the wave would show; nothing gets darker than a shadow.
        light = 1 + contrast * WINDOW * np.clip(light - 1, -0.95, 4.0)
        nearest = np.full(canvas.shape, 1.0, np.float32)
        for k, corner in enumerate(whole - PATCH // 2):
            low = np.maximum(-corner, 0)
            high = np.minimum(CANVAS - corner, PATCH)
            here = tuple(slice(c + a, c + b) for c, a, b in zip(corner, low, high, strict=True))
            part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            canvas[here] *= light[k][part]
            if labels is not None:
                closer = relative[k][part] < nearest[here]
                labels[here][closer] = k + 1
                nearest[here][closer] = relative[k][part][closer]

    def expose(self, looks: Looks, rng: np.random.Generator, size: int,
               return_instances: bool = False) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
        """Take one image, uint8 [size, size], and on demand the cells' numbers, 0 background."""
        canvas = self.scene.copy()
        labels = np.zeros(canvas.shape, np.uint8) if return_instances else None
        self._add(canvas, looks, self.contrast, labels)
        move = self.walk + rng.normal(0, 0.25, 2)
        turn = np.deg2rad(rng.normal(0, 0.15))
        cos, sin = np.cos(turn), np.sin(turn)
        centre = np.array([CANVAS / 2, CANVAS / 2])
        rotation = np.array([[cos, -sin], [sin, cos]])
        side = DESIGN * FINE
        offset = centre + move * FINE - rotation @ np.array([side / 2, side / 2])
        crop = np.concatenate([rotation, offset[:, None]], 1)

        def cut(picture: np.ndarray, how: int, shrink: int) -> np.ndarray:
            picture = cv2.warpAffine(picture, crop, (side, side), flags=how | cv2.WARP_INVERSE_MAP,
                                     borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
            return cv2.resize(picture, (size, size), interpolation=shrink)

        grey = cut(canvas, cv2.INTER_LINEAR, cv2.INTER_AREA) * rng.normal(1, 0.008)
        spread = np.sqrt(np.clip(grey, 0, None) / self.kind.electrons + self.kind.read_noise**2)
        grey = grey + spread * rng.standard_normal(grey.shape, np.float32)
        image = np.clip(np.round(255 * grey), 0, 255).astype(np.uint8)
        if labels is not None:
            labels = cut(labels, cv2.INTER_NEAREST, cv2.INTER_NEAREST)
        return image, labels


def channels(kind: Modality, rng: np.random.Generator) -> np.ndarray:
    """Where the chip is hollow, uint8 0 or 1: chamber and inlets, after the paper's chambers.

    Bright field: a chamber fed between pillars above, drained by a comb below. Phase
    contrast: a square chamber with one rounded inlet above and below.
    """
    side = (DESIGN + 2 * EDGE) * MASK_SCALE
    mask = np.zeros((side, side), np.uint8)

    def fill(left: float, top: float, right: float, bottom: float, value: int = 1) -> None:
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        corners = np.round((corners + EDGE) * MASK_SCALE).astype(np.int32)
        cv2.fillPoly(mask, [corners], value)

    left, top, right, bottom = kind.inner
    far = 2 * DESIGN
    slack = rng.uniform(0.3, 1.2, 4)
    left, top, right, bottom = (
        left - slack[0], top - slack[1], right + slack[2], bottom + slack[3]
    )  # fmt: skip
    fill(left, top, right, bottom)
    if kind.code == 0:
        fill(left + 2.5, -far, right - 2.5, top)
        shift = rng.normal(0, 0.6)
        for pillar in (36.5, 59.5, 82.5):
            fill(pillar + shift, -far, pillar + shift + rng.uniform(10.5, 12), top - 0.5, 0)
        for tooth in np.arange(left + 3, right - 4, 7.8):
            fill(tooth, bottom, tooth + rng.uniform(3.4, 4.2), far)
    else:
        inlet, width = 65 + rng.normal(0, 0.8), rng.uniform(14, 17)
        fill(inlet - width / 2, -far, inlet + width / 2, top + 1)
        fill(inlet - width / 2, bottom - 1, inlet + width / 2, far)
        mask = (cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.6 * MASK_SCALE) > 0.5).astype(
            np.uint8
        )
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 0.2), 1.0)
    return cv2.warpAffine(mask, turn, (side, side), flags=cv2.INTER_NEAREST,
                          borderMode=cv2.BORDER_REPLICATE)  # fmt: skip


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the wall in px, float32, positive in the hollow."""
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (inside - outside) / MASK_SCALE


def _line(distance: np.ndarray, at: float, width: float) -> np.ndarray:
    return np.exp(-(((distance - at) / width) ** 2))


def bright_field_wall(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Relative light: a slanting wall shows as two dark lines with bright fringes."""
    depth = rng.uniform(0.14, 0.26)
    scene = 1 + 0.012 * (distance < -2)
    scene = scene - depth * _line(distance, -0.3, 0.75) - 0.7 * depth * _line(distance, -3.0, 0.7)
    return (
        scene + 0.3 * depth * _line(distance, 1.4, 0.9) + 0.35 * depth * _line(distance, -1.6, 0.7)
    ).astype(np.float32)


def phase_contrast_wall(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Relative light: dark chip, bright double edge, a glow that fades into the chamber."""
    strength = rng.uniform(0.6, 0.9)
    edge = 1 / (1 + np.exp(-2.5 * (distance + 2.0)))
    scene = 0.78 + 0.22 * edge
    glow = 0.3 * np.exp(-np.clip(distance, 0, None) / 6.5) * (distance > -1)
    lines = 0.25 * _line(distance, 0.0, 0.9) + 0.42 * _line(distance, -2.4, 0.9)
    halo = -0.06 * np.exp(-np.clip(-distance - 3, 0, None) / 4.0) * (distance < -3)
    return (scene + strength * (glow + lines + halo)).astype(np.float32)
