"""How the simulated microscope shows cells: maps of optical phase, and the light behind them."""

import numpy as np
import scipy  # which loads scipy.fft when it is first used: 0.3 s

from cellzoo.simulators.culture import MODES, ORGANELLES, Looks
from cellzoo.simulators.scene import FINE, Modality

PATCH = 72  # sub-pixels: the largest cell and its halo
_ANGLES = 128  # samples of a contour
_WAVELENGTH = 0.55  # micrometres, green light
_RING = 0.065  # cycles per px that the phase plate covers: its inverse is the width of the halo


def _patch_grid() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    axis = ((np.arange(PATCH) - PATCH // 2) / FINE).astype(np.float32)
    distance = np.hypot(axis[:, None], axis[None])
    angle = np.arctan2(axis[:, None], axis[None])
    index = np.round(angle / (2 * np.pi) * _ANGLES).astype(int) % _ANGLES
    # Fades a patch out at its edge, so that no frame is left around a cell.
    window = np.clip((axis[-1] - distance) / 3.0, 0, 1).astype(np.float32)
    return axis, distance, index, window


_AXIS, _DISTANCE, _ANGLE_INDEX, WINDOW = _patch_grid()
_FREQUENCY = np.fft.fftfreq(PATCH, 1 / FINE).astype(np.float32)  # cycles per px
_SQUARE = _FREQUENCY[:, None] ** 2 + _FREQUENCY[None] ** 2


def phase_maps(looks: Looks) -> tuple[np.ndarray, np.ndarray]:
    """Phase in rad and distance relative to the contour, each float32 [cells, patch, patch]."""
    angle = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    waves = np.exp(1j * MODES[:, None] * angle)
    contour = 1 + (looks.contours @ waves).real
    turn = angle - looks.blebs[..., :1]
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    contour += (looks.blebs[..., 1:2] * np.exp(-0.5 * (turn / looks.blebs[..., 2:]) ** 2)).sum(1)
    contour = (np.clip(contour, 0.5, 1.6) * looks.radii[:, None]).astype(np.float32)
    relative = _DISTANCE / contour[:, _ANGLE_INDEX]
    radii = looks.radii[:, None].astype(np.float32)
    inside = np.clip((1 - relative) * radii[..., None] * FINE + 0.5, 0, 1)
    body = np.sqrt(np.clip(1.02 - relative**2, 0, None)) * inside
    body += looks.membranes[:, None, None].astype(np.float32) * np.exp(
        -(((relative - 0.93) * radii[..., None] / 0.7) ** 2)
    )
    # A round blob is a product of two profiles: cheap for many cells and blobs.
    x, y, spread, phase = (
        looks.blobs[..., k, None].astype(np.float32) * (1 if k == 3 else radii[..., None])
        for k in range(4)
    )
    row = phase * np.exp(-0.5 * ((_AXIS - y) / spread) ** 2)
    column = np.exp(-0.5 * ((_AXIS - x) / spread) ** 2)
    inner = np.matmul(row[:, :ORGANELLES].swapaxes(1, 2), column[:, :ORGANELLES])
    outer = np.matmul(row[:, ORGANELLES:].swapaxes(1, 2), column[:, ORGANELLES:])
    phases = looks.phases[:, None, None].astype(np.float32)
    return phases * (body + inner * inside + outer), relative


def light_behind(phase: np.ndarray, depth: np.ndarray, shift: np.ndarray, kind: Modality,
           plate: float) -> np.ndarray:  # fmt: skip
    """Relative intensity float32 [cells, patch, patch] behind phase maps; 1 is no cell.

    The wave behind the cell is cut by the aperture, in phase contrast its undiffracted part
    is turned by a quarter wave, and it is propagated by ``depth`` (Fresnel). The condenser's
    finite aperture blurs what is out of focus; ``shift`` (y, x in sub-pixels) places it.
    """
    n = len(phase)
    wave = np.exp((1j - 0.03) * phase).astype(np.complex64)
    spectrum = scipy.fft.fft2(wave)
    cutoff = kind.aperture / _WAVELENGTH
    pupil = np.exp(-((_SQUARE / cutoff**2) ** 3)).astype(np.float32)
    if plate:
        ring = np.exp(-_SQUARE / _RING**2)
        pupil = pupil * (1 - ring + ring * (-1j * plate))
    travel = np.exp(-1j * np.pi * _WAVELENGTH * depth[:, None, None] * _SQUARE)
    wave = scipy.fft.ifft2(spectrum * (pupil * travel).astype(np.complex64))
    light = wave.real**2 + wave.imag**2
    light /= plate**2 or 1.0
    half = PATCH // 2 + 1
    blur = 0.4**2 + (0.12 * depth) ** 2  # px^2
    ramp_y = np.exp(-2j * np.pi * _FREQUENCY[None] * shift[:, :1] / FINE)
    ramp_x = np.exp(-2j * np.pi * _FREQUENCY[None, :half] * shift[:, 1:] / FINE)
    move = (ramp_y[:, :, None] * ramp_x[:, None]).astype(np.complex64)
    soften = np.exp(-2 * np.pi**2 * blur[:, None, None].astype(np.float32) * _SQUARE[:, :half])
    spectrum = scipy.fft.rfft2(light) * (move * soften)
    return scipy.fft.irfft2(spectrum, s=(PATCH, PATCH)).reshape(n, PATCH, PATCH)
