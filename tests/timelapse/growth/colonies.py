"""Simulated colonies in chambers: gamma lifetimes, steady ages at the start, miscounts."""

import numpy as np
from scipy.stats import gamma, norm

_SHARES = np.linspace(1e-6, 1 - 1e-6, 4001)


def rate(cv):
    """Malthusian rate of cells whose lifetimes have the mean 1: 2 E[exp(-rate lifetime)] = 1."""
    shape = 1 / cv**2
    return shape * (2 ** (1 / shape) - 1)


def colonies(random, number, cells, cv, times, sisters=0.0, in_step=False):
    """Cells of colonies at some times, in mean lifetimes: `[number, times]`.

    `sisters` is the correlation of their lifetimes, as normal scores.
    """
    shape = 1 / cv**2
    quantiles = gamma.ppf(_SHARES, shape, scale=1 / shape)
    waits = quantiles if in_step else residual_lives(random, cv)
    counts = np.full((number, len(times)), cells)
    for row in counts:
        ends, divided = random.choice(waits, cells), []
        while (ends := ends[ends <= times[-1]]).size:
            divided.append(ends)
            both = random.normal(size=(len(ends), 1))
            each = random.normal(size=(len(ends), 2))
            share = norm.cdf(np.sqrt(sisters) * both + np.sqrt(1 - sisters) * each)
            ends = (ends[:, None] + np.interp(share, _SHARES, quantiles)).ravel()
        row += np.searchsorted(np.sort(np.concatenate([np.zeros(0), *divided])), times, "right")
    return counts


def residual_lives(random, cv):
    """What is left of the lives of cells in steady growth."""
    shape, ages = 1 / cv**2, np.linspace(0, 4, 4001)
    weight = np.exp(-rate(cv) * ages) * gamma.sf(ages, shape, scale=1 / shape)
    age = random.choice(ages, 20000, p=weight / weight.sum())
    alive = random.random(len(age)) * gamma.sf(age, shape, scale=1 / shape)
    return gamma.isf(alive, shape, scale=1 / shape) - age


def miscounted(random, counts, mae=0.5, memory=0.0):
    """The counts misread by normal errors of that mean, and rounded."""
    errors = random.normal(size=counts.shape)
    for k in range(1, counts.shape[-1]):
        errors[..., k] = memory * errors[..., k - 1] + np.sqrt(1 - memory**2) * errors[..., k]
    return np.maximum(np.rint(counts + mae / 0.7979 * errors), 0.0)
