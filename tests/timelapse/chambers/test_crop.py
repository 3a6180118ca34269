"""Chambers cut out of a field."""

import numpy as np

from cellzoo.timelapse.chambers.crop import cut
from cellzoo.timelapse.chambers.find import Box


def test_a_turned_picture_keeps_its_noise():
    # An image with less noise than those of the training is flagged as out of focus.
    field = np.random.default_rng(1).normal(100, 5, (200, 200)).round().astype(np.uint8)
    straight, turned = (cut(field, Box(40, 40, 100, 100, angle)) for angle in (0.0, 0.8))
    assert turned.std() > 0.87 * straight.std()
