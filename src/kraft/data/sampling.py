"""Choosing frames: disjoint training, validation and test sets from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kraft.core.errors import DataError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.core.typing import FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.data.geometry import distance_chunks, duplicate_groups

Strategy = Literal["stratified", "random", "farthest"]


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint parts of one dataset; a part that was not asked for is None.

    ``notices`` says in a sentence each what was decided on the way: duplicates left out, another
    strategy because energies are missing.
    """

    train: Dataset
    valid: Dataset | None
    test: Dataset | None
    strategy: Strategy
    seed: int
    notices: tuple[str, ...] = ()


def split(
    dataset: Dataset,
    *,
    n_train: int,
    n_valid: int = 0,
    n_test: int | None = 0,
    seed: int = 0,
    strategy: Strategy = "stratified",
    progress: Progress = silent,
) -> Split:
    """Draw disjoint training, validation and test sets.

    Frames that are the same geometry (see :func:`kraft.data.geometry.duplicate_groups`) count
    once: the first of them can be drawn, its copies are left out, so that no test frame was seen
    in training.

    Parameters
    ----------
    n_train, n_valid, n_test
        Sizes of the parts; ``n_test=None`` takes all frames that are left.
    seed
        The same seed gives the same parts. The training set does not depend on the other sizes.
    strategy
        ``"stratified"`` keeps the distribution of the energies (:func:`stratified_sample`);
        ``"random"`` draws uniformly; ``"farthest"`` spreads the training set as far as it goes
        (:func:`farthest_sample`). Validation and test sets measure errors, so under
        ``"farthest"`` they are stratified.
    progress
        Told about farthest-point steps.

    Raises
    ------
    DataError
        When more frames are asked for than there are different ones.
    OptionError
        When a size is negative, ``n_train`` is zero or the strategy is unknown.
    """
    _check_sizes(n_train, n_valid, n_test, strategy)
    notices: list[str] = []
    pool = _different_frames(dataset, n_train, n_valid, n_test or 0, notices)
    rest_strategy: Strategy = "random" if strategy == "random" else "stratified"
    if dataset.energies is None and strategy != "random":
        rest_strategy = "random"
        if strategy == "stratified":
            strategy = "random"
            notices.append("The dataset has no energies, so frames are drawn at random.")
    train = _draw(dataset, pool, n_train, strategy, seed, "train", progress)
    pool = np.setdiff1d(pool, train, assume_unique=True)
    valid = _draw(dataset, pool, n_valid, rest_strategy, seed, "valid", progress)
    pool = np.setdiff1d(pool, valid, assume_unique=True)
    n_test = len(pool) if n_test is None else n_test
    test = _draw(dataset, pool, n_test, rest_strategy, seed, "test", progress)
    return Split(
        train=dataset.subset(train),
        valid=dataset.subset(valid) if n_valid else None,
        test=dataset.subset(test) if n_test else None,
        strategy=strategy,
        seed=seed,
        notices=tuple(notices),
    )


def _check_sizes(n_train: int, n_valid: int, n_test: int | None, strategy: str) -> None:
    if strategy not in get_args(Strategy):
        known = ", ".join(get_args(Strategy))
        raise OptionError(f"Unknown sampling strategy {strategy!r}. Choose one of: {known}.")
    if n_train < 1:
        raise OptionError(f"Expected at least 1 training frame, got {n_train}.")
    if n_valid < 0 or (n_test is not None and n_test < 0):
        raise OptionError(
            f"Expected sizes of 0 or more, got {n_valid} validation and {n_test} test frames."
        )


def _different_frames(
    dataset: Dataset, n_train: int, n_valid: int, n_test: int, notices: list[str]
) -> IntArray:
    """Return the frames that are no copies of earlier ones, when they are enough."""
    pool = np.flatnonzero(duplicate_groups(dataset) == np.arange(len(dataset)))
    wanted = n_train + n_valid + n_test
    n_copies = len(dataset) - len(pool)
    if wanted > len(pool):
        parts = f"{n_train} training + {n_valid} validation + {n_test} test"
        copies = f" ({n_copies} more are copies of these)" if n_copies else ""
        raise DataError(
            f"Asked for {wanted} frames ({parts}), but the dataset has {len(pool)} different "
            f"frames{copies}. Ask for at most {len(pool)} in all."
        )
    if n_copies:
        notices.append(
            f"{n_copies} of {len(dataset)} frames are copies of others and were left out of the "
            "split."
        )
    return pool


def _draw(
    dataset: Dataset,
    pool: IntArray,
    n: int,
    strategy: Strategy,
    seed: int,
    part: str,
    progress: Progress,
) -> IntArray:
    """Return ``n`` sorted frame numbers out of ``pool``."""
    rng = generator(seed, f"split/{part}")
    if n >= len(pool) or n == 0:
        chosen = np.arange(min(n, len(pool)))
    elif strategy == "random":
        chosen = rng.choice(len(pool), n, replace=False)
    elif strategy == "stratified" and dataset.energies is not None:
        chosen = stratified_sample(dataset.energies[pool], n, rng)
    else:
        chosen = farthest_sample(_descriptors(dataset, pool), n, rng, progress)
    return np.sort(pool[chosen])


def _descriptors(dataset: Dataset, frames: IntArray) -> FloatArray:
    """Return the inverse pair distances ``(len(frames), D)`` in 1/Å."""
    part = dataset.subset(frames)
    chunks = [1.0 / np.maximum(distances, 1e-3) for _, distances in distance_chunks(part)]
    return np.concatenate(chunks)


def stratified_sample(values: FloatArray, n: int, rng: np.random.Generator) -> IntArray:
    """Draw ``n`` of ``values`` so that their histogram keeps its shape.

    The bin width is that of Freedman and Diaconis (1981) for the size of the sample,
    ``2 IQR n^(-1/3)``, with at most ``n / 2`` bins. Each bin gives its share of the sample, by
    largest remainders, and at least one frame where it holds any, so that the rare ends of the
    distribution are represented; within a bin the draw is uniform. This is the sampling of
    Chmiela et al., Sci. Adv. 3, e1603015 (2017).

    Parameters
    ----------
    values
        ``(B,)``, usually energies, in any unit.
    n
        Size of the sample, at most ``B``.
    rng
        Source of randomness.

    Returns
    -------
    indices
        ``(n,)`` different indices, in no particular order.

    Raises
    ------
    DataError
        When ``n`` exceeds ``B``.
    """
    if n > len(values):
        raise DataError(f"Asked for {n} out of {len(values)} values. Ask for fewer.")
    bins = _bins(values, n)
    occupied, bins = np.unique(bins, return_inverse=True)
    counts = np.bincount(bins, minlength=len(occupied))
    quota = _quota(counts, n)
    # Shuffle, sort by bin (stable): the first `quota` of each bin are a uniform draw from it.
    shuffled = rng.permutation(len(values))
    ordered: IntArray = shuffled[np.argsort(bins[shuffled], kind="stable")]
    rank = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen: IntArray = ordered[rank < np.repeat(quota, counts)]
    return chosen


def _bins(values: FloatArray, n: int) -> IntArray:
    low, high = float(values.min()), float(values.max())
    upper, lower = np.percentile(values, [75, 25])
    width = 2.0 * (upper - lower) / np.cbrt(n)
    most = max(1, n // 2)
    if width <= 0:
        n_bins = 1
    else:
        n_bins = most if high - low >= most * width else int(np.ceil((high - low) / width))
    if n_bins == 1:
        return np.zeros(len(values), dtype=np.int64)
    scaled = (values - low) / (high - low) * n_bins
    return np.minimum(scaled.astype(np.int64), n_bins - 1)


def _quota(counts: IntArray, n: int) -> IntArray:
    """Return how many of the sample each bin gives: proportional, at least 1 where possible."""
    share = counts / counts.sum() * n
    quota: IntArray = np.floor(share).astype(np.int64)
    if n >= len(counts):
        quota = np.maximum(quota, 1)
    while quota.sum() != n:
        need = n - int(quota.sum())
        if need > 0:
            able = quota < counts
            order = np.argsort(np.where(able, quota - share, np.inf), kind="stable")
            quota[order[: min(need, int(able.sum()))]] += 1
        else:
            able = quota > 1
            order = np.argsort(np.where(able, share - quota, np.inf), kind="stable")
            quota[order[: min(-need, int(able.sum()))]] -= 1
    return quota


def farthest_sample(
    points: FloatArray, n: int, rng: np.random.Generator, progress: Progress = silent
) -> IntArray:
    """Draw ``n`` points, each the farthest from all drawn before it; the first at random.

    Parameters
    ----------
    points
        ``(B, D)`` descriptors.
    n
        Size of the sample, at most ``B``.
    rng
        Chooses the first point.
    progress
        Told about each step.

    Returns
    -------
    indices
        ``(n,)`` different indices in the order drawn.

    Raises
    ------
    DataError
        When ``n`` exceeds ``B``.

    Notes
    -----
    The greedy 2-approximation of the k-center problem, T. F. Gonzalez, Theor. Comput. Sci. 38,
    293 (1985).
    """
    if n > len(points):
        raise DataError(f"Asked for {n} out of {len(points)} points. Ask for fewer.")
    centered = points - points.mean(axis=0)
    norms = np.einsum("bd,bd->b", centered, centered)
    chosen = np.empty(n, dtype=np.int64)
    nearest = np.full(len(points), np.inf)
    current = int(rng.integers(len(points)))
    for step in range(n):
        chosen[step] = current
        gap = norms - 2.0 * (centered @ centered[current]) + norms[current]
        nearest = np.minimum(nearest, gap)
        nearest[current] = -np.inf
        current = int(np.argmax(nearest))
        progress("choose frames", step + 1, n)
    return chosen
