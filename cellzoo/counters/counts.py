"""What a counter answers."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cellzoo.scores.counts import round_count

_SHOWN_ROWS = 30


@dataclass(frozen=True, eq=False, repr=False)
class Counts:
    """Counts of images, in the order in which these were given.

    Attributes:
        raw: counts before rounding, float32 ``[n]``.
        low: lower ends of the 95 % intervals, float32 ``[n]``; NaN where none can be promised.
        high: their upper ends.
        flags: for each image every reason why it is unlike the training images, the gravest first,
            ``"; "`` between; empty where nothing is noticed, or where nothing is known of the
            training images.

    Example:
        >>> counts = Counts(np.float32([2.4, 7.6]), np.float32([1, 5]), np.float32([4, 10]))
        >>> counts.rounded
        array([2, 8])
    """

    raw: np.ndarray
    low: np.ndarray
    high: np.ndarray
    flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Nothing is noticed where no flags are given."""
        if len(self.flags) != len(self.raw):
            object.__setattr__(self, "flags", [""] * len(self.raw))

    @property
    def rounded(self) -> np.ndarray:
        """Whole cells, halves upwards and never below 0: int64 ``[n]``."""
        return round_count(self.raw).astype(np.int64)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.raw)

    def __repr__(self) -> str:
        """Short, whatever the number of images."""
        shown = ", ".join(map(str, self.rounded[:10].tolist()))
        rest = ", ..." if len(self) > 10 else ""
        flagged = sum(map(bool, self.flags))
        return f"Counts([{shown}{rest}], images={len(self)}, flagged={flagged})"

    def _repr_html_(self) -> str:
        """A table in a notebook."""
        rows = []
        for k in range(min(len(self), _SHOWN_ROWS)):
            interval = "" if np.isnan(self.low[k]) else f"{self.low[k]:.1f} to {self.high[k]:.1f}"
            cells = (k, self.rounded[k], interval, html.escape(self.flags[k]))
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        if len(self) > _SHOWN_ROWS:
            rows.append(f'<tr><td colspan="4">{len(self) - _SHOWN_ROWS} more</td></tr>')
        titles = ("image", "count", "95 % interval", "flag")
        head = "<tr>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"
        return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


class Segmentation(NamedTuple):
    """Where the cells of an image are, in the image's own size.

    Attributes:
        mask: bool ``[h, w]``, true in cells.
        probability: float32 ``[h, w]`` that the mask comes from; None of a classical counter.
    """

    mask: np.ndarray
    probability: np.ndarray | None
