"""Who is in which split, and which labels are used: by group always, by seed always."""

import dataclasses
import logging

import numpy as np

from cellzoo.data.image_set import ImageSet
from cellzoo.errors import UsageError, UserError

log = logging.getLogger("cellzoo")


def split_by_group(
    groups: np.ndarray,
    shares: dict[str, float],
    seed: int,
    labelled: np.ndarray | None = None,
) -> np.ndarray:
    """Deal whole groups out to splits, so that each split gets about its share of the images.

    In random order each group goes to the split that lacks most images, so that no split exceeds
    its share by as much as the largest group. Should a split go without a group, it gets the
    smallest one of the split that is most above its share. The order of the images plays no part.
    Groups that hold a label are dealt first, so that each split gets its share of them as well.

    Args:
        groups: ``[n]`` str.
        shares: split -> share of the images in [0, 1]; they sum to 1. Share 0 gets nothing.
        seed: of the random order.
        labelled: bool ``[n]``, which images have a count; None: all.

    Returns:
        ``[n]`` str, the split of each image.

    Raises:
        UsageError: the shares are negative or do not sum to 1.
        UserError: there are fewer groups than splits to fill.
    """
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise UsageError(f"the shares of the splits {shares} must be at least 0 and sum to 1")
    splits = [split for split, share in shares.items() if share > 0]
    names, group_of_image, sizes = np.unique(
        np.asarray(groups, str), return_inverse=True, return_counts=True
    )
    if len(names) < len(splits):
        raise UserError(
            f"the images form {len(names)} groups, too few to split into {', '.join(splits)}, "
            "give more groups or set a share in data.natural.shares to 0"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    first = np.ones(len(names), bool)
    if labelled is not None:
        first = np.bincount(group_of_image, labelled, len(names)) > 0
    lacking = np.zeros(len(splits))
    split_of_group = np.full(len(names), len(splits))  # none yet
    for part in (order[first[order]], order[~first[order]]):
        lacking += np.array([shares[split] for split in splits]) * sizes[part].sum()
        for group in part:
            neediest = int(np.argmax(lacking))
            split_of_group[group] = neediest
            lacking[neediest] -= sizes[group]
        dealt = split_of_group < len(splits)
        for split in range(len(splits)):
            if dealt.sum() >= len(splits) and not (split_of_group == split).any():
                _give_smallest_group(split, split_of_group, sizes, lacking)
    return np.array(splits, str)[split_of_group][group_of_image]


def choose_labelled(
    counts: np.ndarray, groups: np.ndarray, n: int | float | None, seed: int
) -> np.ndarray:
    """Choose which labelled images keep their label, as if the others had never been counted.

    Spread over the groups: no group gives a second image before each has given one. With the same
    seed a smaller choice is part of a larger one, so that learning curves compare like with like.

    Args:
        counts: ``[n]`` float32, NaN = unlabelled.
        groups: ``[n]`` str.
        n: number of images (int), share of the labelled images in (0, 1] (float; rounded, at least
            one image), or None for all.
        seed: of the choice.

    Returns:
        bool ``[n]``, true only where there is a label.

    Raises:
        UserError: more labels are asked for than exist.
        UsageError: a negative number, or a share outside (0, 1].
    """
    labelled = np.flatnonzero(~np.isnan(counts))
    keep = np.zeros(len(counts), bool)
    keep[_first_in_turn(labelled, np.asarray(groups), seed)[: _how_many(n, len(labelled))]] = True
    return keep


def hide_labels(image_set: ImageSet, keep: np.ndarray) -> ImageSet:
    """The same images, unlabelled (NaN) except where ``keep`` (bool ``[n]``) is true.

    Who hides a count hides the image's mask and points as well, from which it could be read.
    """
    counts = np.where(keep, image_set.counts, np.nan).astype(np.float32)
    has_mask, masks = image_set.has_mask, image_set.masks
    if has_mask is not None:
        has_mask = has_mask & (keep | ~image_set.labelled)
        if (hidden := image_set.has_mask & ~has_mask).any():
            masks = np.where(hidden[:, None, None], masks.dtype.type(0), masks)
    points = image_set.points
    if points is not None:
        points = points.copy()
        points[np.isnan(counts)] = None
    changed = {"counts": counts, "has_mask": has_mask, "masks": masks, "points": points}
    return dataclasses.replace(image_set, **changed)


def hide_assisted(images: ImageSet, among: np.ndarray, cure: str) -> ImageSet:
    """The same images, some without the labels that were made with a model's count in view.

    Such labels lean towards that model, so an error on them is too small.

    Args:
        images: of any splits.
        among: bool ``[n]``, which may lose their label.
        cure: said after a colon where one does.
    """
    if images.assisted is None:
        return images
    hidden = images.assisted & among
    if hidden.any():
        log.warning(
            "%d labels were made with a model's count in view and are left out where models are "
            "checked: %s.",
            hidden.sum(), cure,
        )  # fmt: skip
    return hide_labels(images, ~hidden)


def _give_smallest_group(
    split: int, split_of_group: np.ndarray, sizes: np.ndarray, lacking: np.ndarray
) -> None:
    """Move one group to the empty split, in place, out of a split that keeps another."""
    groups_in_split = np.bincount(split_of_group, minlength=len(lacking))[: len(lacking)]
    giver = int(np.argmin(np.where(groups_in_split > 1, lacking, np.inf)))
    candidates = np.flatnonzero(split_of_group == giver)
    group = candidates[np.argmin(sizes[candidates])]
    split_of_group[group] = split
    lacking[giver] += sizes[group]
    lacking[split] -= sizes[group]


def _how_many(n: int | float | None, available: int) -> int:
    if n is None:
        return available
    if isinstance(n, (float, np.floating)):
        if not 0 < n <= 1:
            raise UsageError(f"the share of labelled images {n} must be above 0 and at most 1")
        wanted = max(1, round(float(n) * available))
    else:
        wanted = int(n)
    if wanted < 0:
        raise UsageError(f"the number of labelled images {wanted} must not be negative")
    if wanted > available:
        raise UserError(
            f"{wanted} labelled images are asked for, but only {available} are labelled, "
            "lower data.natural.labelled or label more images"
        )
    return wanted


def _first_in_turn(index: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Shuffle so that each group's first image comes before any group's second."""
    shuffled = np.random.default_rng(seed).permutation(index)
    turn = np.empty(len(shuffled), int)
    given: dict[str, int] = {}
    for k, group in enumerate(groups[shuffled].tolist()):
        turn[k] = given[group] = given.get(group, -1) + 1
    return shuffled[np.argsort(turn, kind="stable")]
