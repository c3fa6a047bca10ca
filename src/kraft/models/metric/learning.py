"""Learning the weights of features, and how they mix, by gradient descent."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.descriptors import FeatureMap
from kraft.kernels import radial_kernel
from kraft.models.metric.descent import Descent, MetricStep
from kraft.models.metric.mixing import metric_variables
from kraft.models.metric.objective import Criterion, MetricObjective
from kraft.models.objective import TrainingArrays

STAGE = "learning the metric"
"""For progress."""

EARLY_SHARE = 0.5
"""The first steps, of the weights alone, are made on a share of the geometries, at an eighth of the
cost."""

LEAST_EARLY = 20
"""Geometries that this share must have to tell the way."""


@dataclass(frozen=True)
class MetricOptions:
    """How a metric is learned.

    Attributes
    ----------
    criterion
        What is minimized, see :class:`kraft.models.metric.MetricObjective`.
    prior_deviation
        Standard deviation of log-weights about their mean that the prior expects: the smaller, the
        closer to equal weights.
    mixing_deviation
        Standard deviation of the entries of the matrix that mixes features; zero for weights alone.
    max_labels
        Labels of the subset of training geometries that is learned from; the time goes with the
        cube of their number.
    max_steps
        Steps of the optimizer at most: with the weights alone on half of the geometries, if these
        are :data:`LEAST_EARLY` at least, and with everything on all of them.
    least_gain
        The optimizer stops when the objective (a logarithm) fell by less than this over five steps.
    """

    criterion: Criterion = "likelihood"
    prior_deviation: float = 0.5
    mixing_deviation: float = 0.2
    max_labels: int = 4000
    max_steps: int = 25
    least_gain: float = 3e-3

    def __post_init__(self) -> None:
        if not 0.0 <= self.mixing_deviation < math.inf:
            raise OptionError(
                "The deviation of the mixing must be positive, or zero for weights alone, got "
                f"{self.mixing_deviation}."
            )
        for name in ("max_labels", "max_steps"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}.")


@dataclass(frozen=True, eq=False)
class LearnedMetric:
    """A learned metric and how it came about.

    Attributes
    ----------
    feature_weights
        ``(D,)`` equal on orbits; scaled so that the median distance between the weighted features
        of two geometries is that of the unweighted ones.
    feature_mixing
        ``(D, D)`` symmetric matrix that mixes the weighted features; None where they do not.
    orbits
        ``(D,)`` number of the orbit of every feature.
    kernel, length_scale, regularization
        What the weights were learned with, and together with them.
    criterion
        What was minimized.
    n_train
        Geometries that were learned from.
    steps
        The whole way.
    n_evaluations
        How often objective and gradient were computed.
    stop_reason
        Why it ended.
    """

    feature_weights: FloatArray
    feature_mixing: FloatArray | None
    orbits: IntArray
    kernel: str
    length_scale: float
    regularization: float
    criterion: Criterion
    n_train: int
    steps: tuple[MetricStep, ...]
    n_evaluations: int
    stop_reason: str
    seconds: float

    @property
    def gain(self) -> float:
        """How far the objective fell, on a part of the geometries and then on all of them."""
        return sum(one.objective - other.objective for one, other in self._moves)

    @property
    def n_steps(self) -> int:
        """How many steps were taken."""
        return len(self._moves)

    @property
    def _moves(self) -> list[tuple[MetricStep, MetricStep]]:
        pairs = pairwise(self.steps)
        return [(one, other) for one, other in pairs if one.n_train == other.n_train]

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithms of the orbits' weights; zero for equal ones."""
        first = np.unique(self.orbits, return_index=True)[1]
        return float(np.log(self.feature_weights[first]).std())


def learn_metric(
    arrays: TrainingArrays,
    indices: IntArray,
    kernel: str,
    length_scale: float,
    regularization: float,
    options: MetricOptions = MetricOptions(),
    progress: Progress = silent,
) -> LearnedMetric:
    """Learn a metric, with length scale and regularization, on some geometries.

    Nothing is random, and nothing is written: an interruption loses the steps, no more.

    Parameters
    ----------
    arrays
        The data.
    indices
        ``(m,)`` training geometries to learn from.
    kernel
        Name of the radial kernel.
    length_scale, regularization
        Where to start, with equal weights.
    options
        How.
    progress
        Told about the steps.

    Raises
    ------
    OptionError
        When the criterion needs validation geometries and there are none.
    SolverError
        When the system cannot be solved at the start.
    """
    started = time.perf_counter()
    stages = _stages(arrays, indices, kernel, options)
    total = options.max_steps * len(stages)
    point = stages[0].start(length_scale, regularization)
    steps: list[MetricStep] = []
    n_evaluations = 0
    for objective in stages:
        descent = Descent(objective, options.max_steps, options.least_gain, started)
        taken = max(0, len(steps) - 1)

        def report(done: int, taken: int = taken) -> None:
            progress(STAGE, taken + done, total)

        point, reason = descent.run(objective.variables.extended(point), report)
        steps += descent.steps
        n_evaluations += descent.n_evaluations
    variables = objective.variables
    factors, mixing = variables.scale(point), variables.mixing(point)
    ratio = _relative_spread(arrays, indices, factors, mixing)
    return LearnedMetric(
        feature_weights=factors / ratio,
        feature_mixing=mixing,
        orbits=variables.orbits,
        kernel=kernel,
        length_scale=radial_kernel(kernel).scale(1.0) / ratio,
        regularization=math.exp(point[-1]),
        criterion=options.criterion,
        n_train=objective.n_train,
        steps=tuple(steps),
        n_evaluations=n_evaluations,
        stop_reason=reason,
        seconds=time.perf_counter() - started,
    )


def _stages(
    arrays: TrainingArrays, indices: IntArray, kernel: str, options: MetricOptions
) -> list[MetricObjective]:
    """Return the objectives to descend one after the other."""
    variables = metric_variables(arrays, options.mixing_deviation)
    given = kernel, options.criterion, options.prior_deviation
    stages = [MetricObjective(arrays, indices, *given, variables)]
    early = int(EARLY_SHARE * len(indices))
    if early >= LEAST_EARLY:
        alone = variables.without_mixing()
        stages.insert(0, MetricObjective(arrays, indices[:early], *given, alone))
    return stages


def _relative_spread(
    arrays: TrainingArrays, indices: IntArray, factors: FloatArray, mixing: FloatArray | None
) -> float:
    """Return the median distance of features with a metric, relative to that without any."""
    positions = arrays.positions[torch.as_tensor(indices, device=arrays.positions.device)]
    values = arrays.descriptor.values(positions).cpu()
    mapped = FeatureMap(factors, np.zeros_like(factors), mixing).values(values.numpy())
    weighted, plain = (float(torch.pdist(x).median()) for x in (torch.from_numpy(mapped), values))
    ratio = weighted / plain if plain > 0.0 else math.nan
    return ratio if math.isfinite(ratio) and ratio > 0.0 else float(factors.mean())
