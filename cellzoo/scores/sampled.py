"""What some images with true counts say of all others that were counted. Knows nothing of models.

The images are drawn at random within strata of the predicted count (stratified random sampling with
proportional allocation, Cochran 1977, chapter 5). Each stratum's mean is unbiased for its images,
and so is the mean over strata, weighted by how many images each of them has left. Images of one
group err alike; that does not matter here, as the draw takes images, and the rest are images of the
same groups. ``docs/statistics.md`` says how often the intervals hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import gammaln, stdtrit

from cellzoo.scores.counts import round_count

FEWEST = 5  # images with a true count
LEVEL = 0.95
_STRATA, _IMAGES_OF_A_STRATUM = 5, 4


@dataclass(frozen=True)
class Estimate:
    """A number to expect, with a 95 % interval.

    Attributes:
        value: of the images without a true count.
        low: lower end; NaN where the images do not say how much they vary.
        high: upper end.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Correction:
    """What makes counts right on average, as far as the images show it.

    Attributes:
        kind: ``"factor"``: counts are multiplied; ``"shift"``: cells are added; ``"none"``: neither
            is shown to help.
        amount: the factor or the cells, with an interval; of ``"none"`` the factor, for the record.
        mae: mean absolute error to expect of the corrected counts. Each image is corrected by what
            the others say.
    """

    kind: Literal["factor", "shift", "none"]
    amount: Estimate
    mae: Estimate

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Corrected counts, not rounded, of counts ``[n]``."""
        if self.kind == "none":
            return np.asarray(raw, float)
        if self.kind == "factor":
            return np.asarray(raw, float) * self.amount.value
        return np.maximum(np.asarray(raw, float) + self.amount.value, 0)


def strata_of(predicted: np.ndarray, checked: int) -> np.ndarray:
    """The stratum of each image, from few cells to many: int ``[n]``.

    Args:
        predicted: counts, ``[n]``.
        checked: images that will get a true count: at least four of each stratum.
    """
    number = int(np.clip(checked // _IMAGES_OF_A_STRATUM, 1, _STRATA))
    order = np.argsort(predicted, kind="stable")
    strata = np.empty(len(order), int)
    strata[order] = np.arange(len(order)) * number // len(order)
    return strata


def draw(predicted: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Draws images within strata of the predicted count.

    Args:
        predicted: counts, ``[n]``.
        number: of images to draw, below n.
        seed: of the draw.

    Returns:
        Their places, rising: int ``[number]``. Of each stratum as many as its share of the images,
        and each of a stratum's images is as likely as any other.
    """
    random = np.random.default_rng(seed)
    strata = strata_of(predicted, number)
    # Strata are as large as each other up to one image, so which of them gives one more is drawn.
    names = random.permutation(np.unique(strata))
    each = number // len(names)
    # Where nearly all are drawn, only the larger ones have one more.
    names = sorted(names, key=lambda name: (strata == name).sum() == each)
    chosen = []
    for k, name in enumerate(names):
        share = each + (k < number % len(names))
        chosen.append(random.permutation(np.flatnonzero(strata == name))[:share])
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True, eq=False)
class Sample:
    """Counted images, of which some have a true count.

    Attributes:
        predicted: counts before rounding of all images, ``[n]``.
        places: of the images with a true count, int ``[m]``, m >= :data:`FEWEST`, m < n.
        true: their true counts, ``[m]``.
    """

    predicted: np.ndarray
    places: np.ndarray
    true: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """Predicted counts of the images with a true one, ``[m]``."""
        return self.predicted[self.places]

    @property
    def rest(self) -> int:
        """Number of images without a true count."""
        return len(self.predicted) - len(self.places)

    def scores(self) -> dict[str, Estimate]:
        """MAE and exact share of whole counts, and bias of those before rounding, of the rest."""
        errors = round_count(self.counted) - self.true
        return {
            "mae": self._mean(np.abs(errors), positive=True),
            "exact": self.share(errors == 0),
            "bias_raw": self._mean(self.counted - self.true),
        }

    def share(self, of: np.ndarray) -> Estimate:
        """The share of the rest for which something holds, of which bool ``[m]`` says it.

        The interval has every number of such images in the rest with which so many in the draw, or
        fewer, and so many or more are both likelier than 2.5 % (Cochran 1977, section 3.6).
        """
        _, weights, _ = self._weights()
        value = float(np.dot(weights, of))
        drawn = len(of)
        hits = int(np.clip(round(value * drawn), value > 0, drawn - (value < 1)))
        # Of all images; a fine grid where there are very many.
        of_all = np.unique(np.linspace(hits, hits + self.rest, 2001).round())[:, None]
        others = drawn + self.rest - of_all

        def likelihood(numbers: np.ndarray) -> np.ndarray:
            logs = _log_choose(of_all, numbers) + _log_choose(others, drawn - numbers)
            logs = logs - _log_choose(np.array(drawn + self.rest), np.array(drawn))
            return np.exp(logs).sum(axis=1)

        tail = (1 - LEVEL) / 2
        possible = likelihood(np.arange(hits + 1)) > tail
        possible &= likelihood(np.arange(hits, drawn + 1)) > tail
        ends = (of_all[possible, 0][[0, -1]] - hits) / self.rest
        return Estimate(value, min(float(ends[0]), value), max(float(ends[1]), value))

    def correction(self) -> Correction:
        """What makes the counts of the rest right on average.

        A factor or a shift is proposed if its interval leaves out 1 or 0, and if it makes the
        squared error smaller of images that it was not made from. Of two the better one.
        """
        counted, true = self.counted, self.true
        _, weights, _ = self._weights()
        left_out: dict[str, np.ndarray] = {"none": counted}
        found = {"none": self.factor()}
        if counted.min() >= 0 and counted.max() > 0:
            found["factor"] = found["none"]
            left_out["factor"] = counted * _without_each(
                weights, lambda w: np.dot(w, true) / max(np.dot(w, counted), 1e-9)
            )
        found["shift"] = self._mean(true - counted)
        left_out["shift"] = np.maximum(
            counted + _without_each(weights, lambda w: np.dot(w, true - counted) / w.sum()), 0
        )
        shown = {
            "none": True,
            "factor": not found["none"].low <= 1 <= found["none"].high,
            "shift": not found["shift"].low <= 0 <= found["shift"].high,
        }
        off = {k: np.dot(weights, np.square(made - true)) for k, made in left_out.items()}
        kind = min((k for k in left_out if shown[k]), key=off.__getitem__)
        errors = np.abs(round_count(left_out[kind]) - true)
        return Correction(kind, found[kind], self._mean(errors, positive=True))

    def factor(self) -> Estimate:
        """True cells for each counted one, a ratio of two means (Cochran 1977, chapter 6)."""
        _, weights, _ = self._weights()
        counted = float(np.dot(weights, self.counted))
        if counted <= 0:
            return Estimate(float("nan"))
        factor = float(np.dot(weights, self.true)) / counted
        around = self._mean(self.true - factor * self.counted)
        return Estimate(factor, factor + around.low / counted, factor + around.high / counted)

    def _mean(self, values: np.ndarray, positive: bool = False) -> Estimate:
        """The mean over the rest of what is ``[m]`` here, with Student's t.

        Args:
            values: of the images with a true count.
            positive: the mean cannot be below 0: the interval is symmetrical on the logarithm.
        """
        strata, weights, of_rest = self._weights()
        value = float(np.dot(weights, values))
        squares, freedoms = [], []
        for name in np.unique(strata):
            own = values[strata == name]
            share = of_rest[name] / self.rest
            # The rest of a stratum varies around its mean as the draw does.
            off = own.var(ddof=1) * (1 / len(own) + 1 / max(of_rest[name], 1))
            squares.append(share**2 * off)
            freedoms.append(len(own) - 1)
        square = sum(squares)
        if square == 0:
            return Estimate(value)
        # Satterthwaite's: where one stratum varies most, its images alone say how much.
        freedom = square**2 / sum(a**2 / n for a, n in zip(squares, freedoms, strict=True))
        reach = float(stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(square))
        if positive:
            times = float(np.exp(reach / value))
            return Estimate(value, value / times, value * times)
        return Estimate(value, value - reach, value + reach)

    def _weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Strata ``[m]``, weights ``[m]`` that add up to 1, and how many of the rest each has.

        Strata of fewer than two images with a true count join the one before or after.
        """
        strata = strata_of(self.predicted, len(self.places))
        known = strata[self.places]
        for name in range(strata.max(), -1, -1):
            if (known == name).sum() < 2 and len(np.unique(strata)) > 1:
                others = np.unique(strata[strata != name])
                into = others[np.abs(others - name).argmin()]
                strata[strata == name] = into
                known = strata[self.places]
        of_rest = np.bincount(strata, minlength=strata.max() + 1)
        of_rest = of_rest - np.bincount(known, minlength=len(of_rest))
        sizes = np.bincount(known, minlength=len(of_rest))
        return known, of_rest[known] / (self.rest * sizes[known]), of_rest


def _without_each(weights: np.ndarray, of: Callable[[np.ndarray], float]) -> np.ndarray:
    """What is made of all images but one, for each of them, ``[m]``."""
    return np.array([of(np.where(np.arange(len(weights)) == k, 0, weights))
                     for k in range(len(weights))])  # fmt: skip


def _log_choose(of: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Logarithm of the binomial coefficient; minus infinity where there are not as many."""
    possible = (number >= 0) & (number <= of)
    number = np.where(possible, number, 0)
    logs = gammaln(of + 1) - gammaln(number + 1) - gammaln(of - number + 1)
    return np.where(possible, logs, -np.inf)
