"""Learned or equal weights: both are tried, and the better ones taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from kraft.core.progress import Progress
from kraft.models.metric.learning import LearnedMetric, MetricOptions, learn_metric
from kraft.models.objective import TrainingArrays
from kraft.models.selection import Choice, Request, choose, search_order, subset_size

LEARNED: Final = "learned"
"""What to give for weights that are to be learned."""

LEAST_IMPROVEMENT = 0.98
"""Learned weights must lower the error of the choice below this factor of that of equal ones."""


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
    equal_force_mae, learned_force_mae
        Errors in eV/Å, by the criterion of the choice on the same frames, that were compared; None
        when nothing was chosen, so that there was nothing to compare.
    """

    arrays: TrainingArrays
    choice: Choice
    metric: LearnedMetric
    used: bool
    equal_force_mae: float | None
    learned_force_mae: float | None

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know when the learned weights are not used, or not compared."""
        if self.equal_force_mae is None or self.learned_force_mae is None:
            return (
                "The learned weights were not compared with equal ones, since kernel, length scale "
                "and regularization were given. Leave one of these open to have them compared.",
            )
        if self.used:
            return ()
        ratio = self.learned_force_mae / self.equal_force_mae
        return (
            "The learned weights were dropped: in the choice of hyper-parameters their force "
            f"error was {ratio:.2f} times that of equal weights. The model has equal weights.",
        )


def choose_with_metric(
    arrays: TrainingArrays,
    request: Request,
    *,
    seed: int,
    progress: Progress,
    options: MetricOptions = MetricOptions(),  # noqa: B008
) -> MetricDecision:
    """Choose hyper-parameters with equal and with learned weights, and return the better.

    The weights are learned with the kernel, and from the length scale and regularization, that suit
    equal ones, on the geometries of the search's own subsets: those that it holds out stay unseen.

    Raises
    ------
    OptionError, SolverError
        As :func:`kraft.models.selection.choose` and :func:`learn_metric`.
    """
    equal = choose(arrays, request, seed=seed, progress=progress)
    subset = subset_size(arrays.n_train, options.max_labels, arrays.labels_per_geometry)
    metric = learn_metric(
        arrays,
        search_order(arrays.n_train, seed)[:subset],
        equal.kernel,
        equal.length_scale,
        equal.regularization,
        options,
        progress,
    )
    weighted = replace(arrays, feature_weights=metric.feature_weights)
    learned = choose(weighted, request, seed=seed, progress=progress)
    errors = _comparable_errors(equal, learned)
    used = errors[0] is None or errors[1] is None or errors[1] < LEAST_IMPROVEMENT * errors[0]
    if used:
        reason = f"{learned.reason}; {describe(metric)}"
        return MetricDecision(weighted, replace(learned, reason=reason), metric, True, *errors)
    return MetricDecision(arrays, equal, metric, False, *errors)


def describe(metric: LearnedMetric) -> str:
    """Return in words how the weights were learned."""
    return (
        f"{metric.orbits.max() + 1} weights of features learned by {metric.criterion} on "
        f"{metric.n_train} geometries"
    )


def _comparable_errors(one: Choice, other: Choice) -> tuple[float | None, float | None]:
    """Return the least errors of two choices on the largest subset that both tried."""
    common = {t.n_train for t in one.trials} & {t.n_train for t in other.trials}
    if not common:
        return None, None
    size = max(common)
    errors = [min(t.force_mae for t in c.trials if t.n_train == size) for c in (one, other)]
    return errors[0], errors[1]
