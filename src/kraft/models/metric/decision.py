"""Learned or equal weights: both are tried, and the better ones taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from kraft.core.progress import Progress
from kraft.core.typing import IntArray
from kraft.models.choice import Choice, Request, Trial
from kraft.models.metric.learning import LearnedMetric, MetricOptions, learn_metric
from kraft.models.objective import TrainingArrays
from kraft.models.selection import TYPICAL_LENGTH_SCALE, choose, search_order, subset_size

LEARNED: Final = "learned"
"""What to give for weights that are to be learned."""

AUTO: Final = "auto"
"""What to give for weights that are learned where that can help."""

METRIC_KERNEL: Final = "matern72"
"""The kernel to learn a metric with: the one that gains most (`docs/metric.md`)."""

START_SHARE = 0.32
"""Learning starts at this share of the typical length scale of a kernel."""

START_REGULARIZATION = 1e-7
"""Relative to the mean diagonal, where learning starts."""

START_GEOMETRIES = 20
"""Geometries that this mean is taken over."""

LEAST_IMPROVEMENT = 0.98
"""Learned weights must lower the error of forces below this factor of that of equal ones."""

WORST_ENERGIES = 1.1
"""They may not raise that of energies above this factor; few frames tell no less."""

LEAST_GEOMETRIES = 15
"""Geometries in the subset that weights are learned from, unless they were asked for."""


@dataclass(frozen=True, eq=False)
class MetricDecision:
    """Which weights a training goes on with, and why.

    Attributes
    ----------
    arrays
        The data with these weights.
    choice
        The hyper-parameters that go with them.
    metric
        The weights that were learned, whether they are used or not.
    used
        Whether the learned weights are used.
    equal, learned
        The trials that were compared, by the criterion of the choice on the same frames; None when
        nothing was chosen, so that there was nothing to compare.
    """

    arrays: TrainingArrays
    choice: Choice
    metric: LearnedMetric
    used: bool
    equal: Trial | None
    learned: Trial | None

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know when weights that were asked for are not used or compared."""
        if self.equal is None or self.learned is None:
            return (
                "The learned metric was not compared with equal weights, since kernel, length "
                "scale and regularization were given. Leave one of these open to have it compared.",
            )
        if self.used:
            return ()
        ratios = f"{self.learned.force_mae / self.equal.force_mae:.2f} times that of equal weights"
        if self.equal.energy_mae and self.learned.energy_mae:
            factor = self.learned.energy_mae / self.equal.energy_mae
            ratios += f", that of energies {factor:.2f} times"
        return (
            "The learned metric was dropped: in the choice of hyper-parameters its force error "
            f"was {ratios}. The model has equal weights.",
        )


def worth_learning(
    arrays: TrainingArrays, n_train: int, request: Request, options: MetricOptions
) -> bool:
    """Tell whether weights are learned from ``n_train`` geometries without being asked for.

    Not where a length scale or a regularization was given, which would mean something else with
    other weights, nor where the geometries to learn from would be too few.
    """
    if request.length_scale is not None or request.regularization is not None:
        return False
    size = subset_size(n_train, options.max_labels, arrays.labels_per_geometry)
    return size >= LEAST_GEOMETRIES


def choose_with_metric(
    arrays: TrainingArrays,
    request: Request,
    *,
    seed: int,
    progress: Progress,
    options: MetricOptions = MetricOptions(),  # noqa: B008
) -> MetricDecision:
    """Choose hyper-parameters with equal and with learned weights, and return the better.

    The metric is learned with the kernel that was asked for or :data:`METRIC_KERNEL`, on the
    geometries of the search's own subsets: those that it holds out stay unseen.

    Raises
    ------
    OptionError, SolverError
        As :func:`kraft.models.selection.choose` and :func:`learn_metric`.
    """
    equal = choose(arrays, request, seed=seed, progress=progress, last_round=False)
    subset = subset_size(arrays.n_train, options.max_labels, arrays.labels_per_geometry)
    indices = search_order(arrays.n_train, seed)[:subset]
    start = _start(arrays, indices, request)
    metric = learn_metric(arrays, indices, *start, options, progress)
    weighted = replace(
        arrays, feature_weights=metric.feature_weights, feature_mixing=metric.feature_mixing
    )
    learned = choose(weighted, request, seed=seed, progress=progress)
    compared = _comparable(equal, learned)
    if _better(*compared):
        reason = f"{learned.reason}; {describe(metric)}"
        return MetricDecision(weighted, replace(learned, reason=reason), metric, True, *compared)
    equal = choose(arrays, request, seed=seed, progress=progress)
    return MetricDecision(arrays, equal, metric, False, *compared)


def _start(arrays: TrainingArrays, indices: IntArray, request: Request) -> tuple[str, float, float]:
    """Return the kernel to learn a metric with, and where length scale and regularization start.

    Shorter than what suits equal weights in the end: from long ones, where the model is nearly
    linear in the features, the descent can stay on a plateau.
    """
    kernel = METRIC_KERNEL if request.kernel == "auto" else request.kernel
    positions = arrays.positions[torch.as_tensor(indices, device=arrays.positions.device)]
    distance = float(torch.pdist(arrays.weighted(arrays.descriptor.values(positions))).median())
    length_scale = request.length_scale or START_SHARE * TYPICAL_LENGTH_SCALE[kernel] * distance
    if request.regularization is not None:
        return kernel, length_scale, request.regularization
    few = indices[:START_GEOMETRIES]
    diagonal = np.asarray(arrays.operator(kernel, length_scale, few)[0].diagonal())
    return kernel, length_scale, START_REGULARIZATION * float(diagonal.mean())


def describe(metric: LearnedMetric) -> str:
    """Return in words how the weights were learned."""
    mixing = "" if metric.feature_mixing is None else " and their mixing"
    return (
        f"{metric.orbits.max() + 1} weights of features{mixing} learned by {metric.criterion} on "
        f"{metric.n_train} geometries"
    )


def _better(equal: Trial | None, learned: Trial | None) -> bool:
    """Tell whether learned weights are taken; so they are where there is nothing to compare."""
    if equal is None or learned is None:
        return True
    if not learned.force_mae < LEAST_IMPROVEMENT * equal.force_mae:
        return False
    if equal.energy_mae is None or learned.energy_mae is None:
        return True
    return learned.energy_mae <= WORST_ENERGIES * equal.energy_mae


def _comparable(one: Choice, other: Choice) -> tuple[Trial | None, Trial | None]:
    """Return the best trials of two choices on the largest subset that both tried."""
    common = {t.n_train for t in one.trials} & {t.n_train for t in other.trials}
    if not common:
        return None, None
    size = max(common)
    best = [
        min((t for t in choice.trials if t.n_train == size), key=lambda trial: trial.score)
        for choice in (one, other)
    ]
    return best[0], best[1]
