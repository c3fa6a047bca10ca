"""Reduced descriptors: which features to keep, and models retrained with those (paper 003)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kraft.analysis.errors import ErrorReport, evaluate
from kraft.analysis.importance import FeatureImportance
from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.models.force_field import ForceField
from kraft.models.training_result import TrainingResult

FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Descriptor sizes of a curve, as in paper 003."""

RISE = 0.01
"""Share by which a validation error may exceed the lowest one before it counts as risen."""

_TIMED_GEOMETRIES = 64
_TIMED_REPEATS = 3


@dataclass(frozen=True, eq=False)
class SelectedFeatures:
    """The features of a reduced descriptor.

    Attributes
    ----------
    features
        ``(D,)`` pairs kept, in ascending order, in the order of ``numpy.triu_indices(N, 1)``.
    n_pairs
        All pairs of the molecule.
    n_short_range
        Features kept because they are always nearer than the cutoff; 0 without one.
    notices
        Sentences that a person should read.
    """

    features: IntArray
    n_pairs: int
    n_short_range: int = 0
    notices: tuple[str, ...] = ()

    @property
    def fraction(self) -> float:
        """Share of all pairs that is kept."""
        return len(self.features) / self.n_pairs


def select_features(
    importance: FeatureImportance,
    *,
    keep: float | None = None,
    percentile: float | None = None,
    cutoff: float | None = None,
) -> SelectedFeatures:
    """Return the most important features, whole orbits of the symmetries.

    Parameters
    ----------
    importance
        Of all features of a model.
    keep
        How many to keep: a share of all pairs up to 1, or a count above. Orbits are removed from
        the least important on, as long as no fewer than that many are left.
    percentile
        In place of it, from 0 to 100: features whose loss is below this percentile of all losses
        are removed, as in paper 003.
    cutoff
        Keep all features that are always nearer than this, in Å, whatever their importance: the
        paper's best practice for flexible molecules, since dynamics without them may be unstable.

    Raises
    ------
    OptionError
        When not exactly one of ``keep`` and ``percentile`` is given, or one is out of range.
    """
    if (keep is None) == (percentile is None):
        raise OptionError("Expected either how many features to keep or a percentile, not both.")
    order = importance.ascending
    sizes = importance.orbit_sizes
    n_pairs = importance.n_atoms * (importance.n_atoms - 1) // 2
    near = np.zeros(len(sizes), dtype=bool)
    if cutoff is not None:
        if not cutoff > 0.0:
            raise OptionError(f"Expected a cutoff above 0 Å, got {cutoff:g}.")
        np.logical_or.at(near, importance.labels, importance.largest_distances < cutoff)
    removed: AnyArray
    if percentile is not None:
        if not 0.0 <= percentile < 100.0:
            raise OptionError(f"Expected a percentile from 0 to below 100, got {percentile:g}.")
        limit = np.percentile(importance.losses, percentile)
        removed = (importance.orbit_losses / sizes < limit) & ~near
    else:
        removed = _least(order, sizes, near, _count(keep or 0.0, n_pairs))
    kept = importance.features[~removed[importance.labels]]
    notices = []
    wanted = None if keep is None else _count(keep, n_pairs)
    if wanted is not None and cutoff is not None and sizes[near].sum() > wanted:
        notices.append(
            f"{sizes[near].sum()} features are always nearer than {cutoff:g} Å and all kept, more "
            f"than the {wanted} asked for."
        )
    return SelectedFeatures(np.sort(kept), n_pairs, int(sizes[near].sum()), tuple(notices))


def _count(keep: float, n_pairs: int) -> int:
    """Return how many features a share of all or a count means."""
    wanted = round(keep * n_pairs) if keep <= 1.0 else round(keep)
    if not 1 <= wanted <= n_pairs:
        raise OptionError(
            f"Expected to keep a share above 0 and up to 1 of the {n_pairs} pairs of atoms, or a "
            f"count from 2 to {n_pairs}; got {keep:g}."
        )
    return wanted


def _least(order: IntArray, sizes: IntArray, near: AnyArray, wanted: int) -> AnyArray:
    """Tell ``(O,)`` which orbits to remove, so that no fewer than ``wanted`` features are left."""
    removed = np.zeros(len(sizes), dtype=bool)
    left = int(sizes.sum())
    for orbit in order:
        if near[orbit]:
            continue
        if left - sizes[orbit] < wanted:
            break
        removed[orbit] = True
        left -= int(sizes[orbit])
    return removed


Retrain = Callable[[IntArray], tuple[ForceField, TrainingResult]]
"""Trains a model with the features ``(D,)``, on the same frames each time."""


@dataclass(frozen=True, eq=False)
class ReducedModel:
    """A model retrained with a reduced descriptor.

    Attributes
    ----------
    selection
        Its features.
    force_field, result
        The model, and the record of its training.
    valid, test
        Its errors on validation and test frames, in eV and Å; None without such frames.
    prediction_seconds
        Time of a prediction in a batch of 64, the best of three.
    training_seconds
        Time of the training.
    """

    selection: SelectedFeatures
    force_field: ForceField
    result: TrainingResult
    valid: ErrorReport | None
    test: ErrorReport | None
    prediction_seconds: float
    training_seconds: float

    @property
    def iteration_seconds(self) -> float | None:
        """Time of an iteration of the solver; None for a direct solver."""
        outcome = self.result.outcome
        return outcome.seconds_solve / outcome.iterations if outcome.iterations else None


def reduced_model(
    selection: SelectedFeatures,
    retrain: Retrain,
    *,
    validation: Dataset | None = None,
    test: Dataset | None = None,
    progress: Progress = silent,
) -> ReducedModel:
    """Train a model with some of the features, test it and time it.

    Parameters
    ----------
    selection
        The features.
    retrain
        Trains a model with given features.
    validation, test
        Frames to test it on.
    progress
        Told about the stages.
    """
    started = time.perf_counter()
    force_field, result = retrain(selection.features)
    seconds = time.perf_counter() - started
    valid, tested = (
        None if part is None else evaluate(force_field, part, progress)
        for part in (validation, test)
    )
    positions = force_field.parameters.training_positions
    return ReducedModel(
        selection,
        force_field,
        result,
        valid,
        tested,
        float("nan") if positions is None else prediction_seconds(force_field, positions),
        seconds,
    )


def reduction_curve(
    importance: FeatureImportance,
    retrain: Retrain,
    *,
    validation: Dataset | None = None,
    test: Dataset | None = None,
    keeps: Sequence[float] = FRACTIONS,
    cutoff: float | None = None,
    until_rise: float | None = None,
    progress: Progress = silent,
) -> tuple[ReducedModel, ...]:
    """Train a model for each descriptor size, from the largest on (paper 003, figures 1E and 2).

    Parameters
    ----------
    importance
        Of the features of the model to reduce.
    retrain
        Trains a model with given features.
    validation, test
        Frames to test the models on.
    keeps
        Sizes, as for :func:`select_features`; those that give the same features are trained once.
    cutoff
        As for :func:`select_features`.
    until_rise
        Stop once the force error on the validation frames exceeds the lowest so far by this share.
    progress
        Told about the stages.

    Raises
    ------
    OptionError
        When a size is out of range, or it shall stop without validation frames.
    """
    if until_rise is not None and validation is None:
        raise OptionError(
            "Expected validation frames to find where the error starts to rise, got none. Give "
            "some, or the sizes to train."
        )
    points: list[ReducedModel] = []
    for index, keep in enumerate(sorted(keeps, key=lambda k: -_count(k, _n_pairs(importance)))):
        progress("descriptor sizes", index, len(keeps))
        selection = select_features(importance, keep=keep, cutoff=cutoff)
        if points and len(points[-1].selection.features) == len(selection.features):
            continue
        points.append(
            reduced_model(selection, retrain, validation=validation, test=test, progress=progress)
        )
        errors = [valid_error(point) for point in points]
        if until_rise is not None and errors[-1] > (1.0 + until_rise) * min(errors):
            break
    progress("descriptor sizes", len(keeps), len(keeps))
    return tuple(points)


def smallest_accurate(points: Sequence[ReducedModel], *, rise: float = RISE) -> ReducedModel:
    """Return the model with the fewest features whose validation error has not risen.

    That is, whose force error is at most ``1 + rise`` times the lowest of them all.
    """
    errors = [valid_error(point) for point in points]
    good = [p for p, e in zip(points, errors, strict=True) if e <= (1.0 + rise) * min(errors)]
    return min(good, key=lambda point: len(point.selection.features))


def valid_error(point: ReducedModel) -> float:
    """Return the force error (MAE, eV/Å) that a model is judged by: on its validation frames.

    Raises
    ------
    OptionError
        When it was not measured.
    """
    if point.valid is None:
        raise OptionError("Expected models with validation errors; give validation frames.")
    return point.valid.force_mae


def prediction_seconds(force_field: ForceField, positions: FloatArray) -> float:
    """Return the time of a prediction for each geometry of a batch, the best of three."""
    batch = positions[np.arange(_TIMED_GEOMETRIES) % len(positions)]
    force_field.predict(batch[:2])
    times = []
    for _ in range(_TIMED_REPEATS):
        started = time.perf_counter()
        force_field.predict(batch)
        times.append(time.perf_counter() - started)
    return min(times) / len(batch)


def _n_pairs(importance: FeatureImportance) -> int:
    return importance.n_atoms * (importance.n_atoms - 1) // 2
