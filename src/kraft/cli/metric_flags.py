"""Whether the metric of features is learned, and what to tell about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from ase.data import chemical_symbols
from cyclopts import Parameter

from kraft.cli.summary import counted, duration
from kraft.cli.training_options import MODEL_GROUP, KindOptions
from kraft.core.errors import OptionError
from kraft.models.metric import LearnedMetric, MetricDecision
from kraft.models.parameters import Parameters
from kraft.symmetry.orbits import pair_indices

STRONGEST = 3
"""Entries of the mixing that are told."""


@Parameter(name="*", group=MODEL_GROUP)
@dataclass(frozen=True)
class MetricFlags:
    """Weights of the features."""

    metric: Annotated[
        Literal["auto", "equal", "learned"],
        Parameter(
            help=(
                "learned gives each kind of distance a weight of its own and mixes distances, "
                "learned from the training frames, unless equal weights turn out as good; auto "
                "does so unless a length scale or a regularization is given or the frames are few."
            )
        ),
    ] = "auto"

    @property
    def feature_weights(self) -> Literal["auto", "learned"] | None:
        """What :func:`kraft.train` takes."""
        return None if self.metric == "equal" else self.metric

    def check(self, kind: KindOptions) -> None:
        """Raise OptionError when the kind of model has no weights to learn."""
        if kind.atomized and self.metric == "learned":
            raise OptionError(
                "--metric does not apply to --model aff: its features have equal weights. Leave it "
                "out."
            )


def metric_facts(decision: MetricDecision | None) -> list[tuple[str, str]]:
    """Return how the weights of a training were learned; nothing when they were not."""
    if decision is None:
        return []
    metric = decision.metric
    steps = f"{counted(metric.n_steps, 'step')}, {duration(metric.seconds)}"
    if not decision.used:
        return [("metric", f"equal weights; learned ones ({steps}) were not better")]
    return [
        (
            "metric",
            f"{_learned(metric)} learned by {metric.criterion} on "
            f"{counted(metric.n_train, 'frame')} ({steps})",
        )
    ]


def metric_figures(decision: MetricDecision | None) -> dict[str, Any] | None:
    """Return the same for ``--json``, with the whole trace."""
    if decision is None:
        return None
    metric = decision.metric
    return {
        "used": decision.used,
        "feature_weights": metric.feature_weights,
        "feature_mixing": metric.feature_mixing,
        "criterion": metric.criterion,
        "n_train": metric.n_train,
        "stop_reason": metric.stop_reason,
        "seconds": metric.seconds,
        "n_evaluations": metric.n_evaluations,
        "objective": [step.objective for step in metric.steps],
        "regularization": [step.regularization for step in metric.steps],
    }


def _learned(metric: LearnedMetric) -> str:
    weights = counted(int(metric.orbits.max()) + 1, "weight")
    n_mixed = metric.steps[-1].mixing.size if metric.steps else 0
    return f"{weights} and {n_mixed} mixing entries" if n_mixed else weights


def weight_facts(parameters: Parameters) -> list[tuple[str, str]]:
    """Return the largest and the smallest weights of a model by pair of atoms, and what mixes."""
    return [*_weights(parameters), *_mixing(parameters)]


def _weights(parameters: Parameters) -> list[tuple[str, str]]:
    weights = parameters.feature_weights
    if np.ptp(weights) <= 1e-12 * weights.max():
        return [("feature weights", "equal")]
    order = np.argsort(weights, kind="stable")
    distinct = order[np.unique(weights[order], return_index=True)[1]]  # a pair of each orbit
    shown = distinct[::-1]
    few = 3 if len(shown) >= 6 else len(shown) // 2
    return [
        ("largest weights", ", ".join(_weighted(parameters, d) for d in shown[:few])),
        ("smallest weights", ", ".join(_weighted(parameters, d) for d in shown[::-1][:few])),
    ]


def _mixing(parameters: Parameters) -> list[tuple[str, str]]:
    """Return the strongest entries of the mixing beside its diagonal, one of each size."""
    mixing = parameters.feature_mixing
    if mixing is None:
        return []
    one, other = np.triu_indices(len(mixing), 1)
    entries = mixing[one, other]
    order = np.argsort(-np.abs(entries), kind="stable")
    distinct = np.sort(np.unique(entries[order], return_index=True)[1])
    shown = [d for d in order[distinct] if entries[d] != 0.0][:STRONGEST]
    told = (
        f"{_pair(parameters, one[d])} with {_pair(parameters, other[d])} {entries[d]:.2g}"
        for d in shown
    )
    return [("strongest mixing", ", ".join(told) or "none")]


def _weighted(parameters: Parameters, feature: int) -> str:
    return f"{_pair(parameters, feature)} {parameters.feature_weights[feature]:.2g}"


def _pair(parameters: Parameters, feature: int) -> str:
    pair = feature if parameters.features is None else int(parameters.features[feature])
    names = []
    for ends in pair_indices(parameters.n_atoms):
        atom = int(ends[pair])
        names.append(f"{chemical_symbols[int(parameters.atomic_numbers[atom])]}{atom}")
    return "-".join(names)
