"""How the chambers of a field are known."""

from pathlib import Path

import numpy as np

from cellzoo.timelapse.chambers.where import Where


def test_a_grid_leaves_no_pixel_out():
    covered = np.zeros((101, 80), int)
    for box in Where(grid=(2, 3)).in_first(covered, Path("a.tif")):
        assert abs(box.width - 80 / 3) < 1 and abs(box.height - 101 / 2) < 1
        covered[box.y : box.y + box.height, box.x : box.x + box.width] += 1
    assert (covered == 1).all()
