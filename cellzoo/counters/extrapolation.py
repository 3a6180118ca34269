"""Counts beyond those that a counter was trained on."""

from cellzoo.scores.counts import round_count


def beyond_training(
    raw: float, most: int, size: tuple[int, int], trained: tuple[int, int] | None
) -> str:
    """What to say of a count above all counts of the training images.

    A picture that is counted in tiles may hold more cells than a training image, as it is larger:
    what must not be exceeded is then the count per area.

    Args:
        raw: count before rounding.
        most: largest count of a training image.
        size: height and width of the image.
        trained: those of the training images, if this one is counted in tiles.

    Returns:
        A few words; empty where the count is not above.

    Example:
        >>> beyond_training(41.6, 30, (128, 128), None)
        '42 cells, above the 30 of the training images'
    """
    count = int(round_count(raw))
    if trained is None:
        return f"{count} cells, above the {most} of the training images" if count > most else ""
    share = size[0] * size[1] / (trained[0] * trained[1])
    if count <= most * max(1.0, share):
        return ""
    return (
        f"{count} cells in {in_pixels(size)}, above the {most} in {in_pixels(trained)} of the "
        "training images"
    )


def in_pixels(size: tuple[int, int]) -> str:
    """A height and width as width x height."""
    return f"{size[1]} x {size[0]} px"
