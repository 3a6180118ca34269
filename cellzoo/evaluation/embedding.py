"""The shared representation in the plane, and a number for how well two domains mix in it."""

import numpy as np
from scipy.spatial import cKDTree

MAX_POINTS = 1500
MIN_POINTS = 16  # UMAP looks at 15 neighbours
NEIGHBOURS = 10


def flat_features(latent: np.ndarray) -> np.ndarray:
    """One vector per image.

    Args:
        latent: latent means, float32 ``[n, d]``, or ``[n, h, w, d]`` where the latent is a map.

    Returns:
        float32 ``[n, d]``. A map is averaged over its places: two images are alike if the same
        number of the same cells is in them, wherever these lie.
    """
    return latent.reshape(len(latent), -1, latent.shape[-1]).mean(axis=1)


def sample(sizes: dict[str, int], most: int = MAX_POINTS, seed: int = 0) -> dict[str, np.ndarray]:
    """Which images of each part to show, so that they are ``most`` altogether.

    Args:
        sizes: number of images of each part.
        most: the parts share it evenly; what a small part does not need goes to the others.
        seed: of the choice.

    Returns:
        Positions in each part, ascending.
    """
    random = np.random.default_rng(seed)
    chosen, left = {}, most
    for place, name in enumerate(sorted(sizes, key=sizes.get)):
        number = min(sizes[name], left // (len(sizes) - place))
        chosen[name] = np.sort(random.choice(sizes[name], number, replace=False))
        left -= number
    return {name: chosen[name] for name in sizes}


def umap_plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features ``[n, d]`` in the plane, ``[n, 2]``, by UMAP with its usual 15 neighbours.

    Args:
        features: of at least :data:`MIN_POINTS` images.
        seed: the same one gives the same plane.

    Raises:
        ImportError: umap-learn is not installed.
    """
    import umap  # 5.6 s, and its first call compiles for 11 to 16 s

    # 200 epochs are what UMAP takes for larger sets; its 500 for small ones look no different.
    reducer = umap.UMAP(
        n_neighbors=MIN_POINTS - 1, n_epochs=200, init="pca", random_state=seed, n_jobs=1
    )
    return reducer.fit_transform(features)


def mixing(first: np.ndarray, second: np.ndarray, neighbours: int = NEIGHBOURS) -> float:
    """How well two sets of points mix: 1 as if shuffled, 0 where they keep to themselves.

    For each point the share of the other set among its nearest neighbours (Euclidean, itself left
    out) is divided by the share that chance gives, m / (n + m - 1) for m points in the other set.
    The result is the mean over the points of a set, and then over the two sets, so that the larger
    one has no more to say. It can exceed 1 where points avoid their like. Sets that differ in what
    they show, such as how many cells, mix less even in a representation that they share.

    Args:
        first: ``[n, d]``, as the network has them, not their UMAP, which tears and glues.
        second: ``[m, d]``.
        neighbours: of a point; fewer where there are not so many other points.

    Returns:
        A number from 0; NaN where a set is empty.
    """
    if not len(first) or not len(second):
        return float("nan")
    points = np.concatenate([first, second]).astype(float)
    of_second = np.arange(len(points)) >= len(first)
    k = min(neighbours, len(points) - 1)
    _, found = cKDTree(points).query(points, k + 1)
    # A point is not always its own first neighbour: others may lie at the same place.
    own = found == np.arange(len(points))[:, None]
    own[~own.any(axis=1), -1] = True
    others = found[~own].reshape(len(points), k)
    share = (of_second[others] != of_second[:, None]).mean(axis=1)
    chance = np.where(of_second, len(first), len(second)) / (len(points) - 1)
    relative = share / chance
    return float((relative[of_second].mean() + relative[~of_second].mean()) / 2)
