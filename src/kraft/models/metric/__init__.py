"""A learned metric: weights of features, and how they mix (`docs/metric.md`)."""

from kraft.models.metric.decision import (
    AUTO,
    LEARNED,
    MetricDecision,
    choose_with_metric,
    worth_learning,
)
from kraft.models.metric.descent import MetricStep
from kraft.models.metric.learning import LearnedMetric, MetricOptions, learn_metric
from kraft.models.metric.objective import CRITERIA, Criterion, MetricObjective

__all__ = [
    "AUTO",
    "CRITERIA",
    "LEARNED",
    "Criterion",
    "LearnedMetric",
    "MetricDecision",
    "MetricObjective",
    "MetricOptions",
    "MetricStep",
    "choose_with_metric",
    "learn_metric",
    "worth_learning",
]
