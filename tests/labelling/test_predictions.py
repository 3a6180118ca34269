import numpy as np

from cellzoo.labelling.predictions import peaks


def test_as_many_places_as_a_density_has_cells():
    density = np.zeros((16, 16), np.float32)
    density[3, 4] = density[10, 12] = 1.0
    density[10, 11] = 1.0  # two cells side by side
    density[0, 15] = 0.3  # less than half a cell
    found = peaks(density, (128, 128))
    assert len(found) == 3
    assert min(np.hypot(x - 35.5, y - 27.5) for x, y in found) < 1


def test_a_cell_over_several_grid_cells_has_its_place_between_them():
    density = np.zeros((8, 8), np.float32)
    density[2:4, 2:4] = 0.25
    assert peaks(density, (64, 64)) == [(23.5, 23.5)]


def test_an_empty_density_has_none():
    assert peaks(np.zeros((8, 8), np.float32), (64, 64)) == []
