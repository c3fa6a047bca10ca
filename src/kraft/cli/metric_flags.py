"""Whether the metric of features is learned, and what to tell about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from kraft.cli.summary import counted, duration
from kraft.cli.training_options import MODEL_GROUP, KindOptions
from kraft.core.errors import OptionError
from kraft.models.metric import LearnedMetric, MetricDecision


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
