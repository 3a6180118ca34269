"""Discs in place of fluorescent nuclei, for tests of what measures them."""

import numpy as np


def discs(diameter, side=200, apart=1.8, seed=0):
    """Soft bright discs on a grid, float32 ``[side, side]`` between 0 and 1."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    pitch = apart * diameter
    y, x = (along % pitch - pitch / 2 for along in (y, x))
    away = np.hypot(y, x) - diameter / 2
    return (1 / (1 + np.exp(np.clip(away * 2, -30, 30)))).astype(np.float32)
