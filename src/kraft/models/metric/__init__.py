"""A learned metric: one weight for each orbit of features (`docs/metric.md`)."""

from kraft.models.metric.decision import LEARNED, MetricDecision, choose_with_metric
from kraft.models.metric.learning import LearnedMetric, MetricOptions, MetricStep, learn_metric
from kraft.models.metric.objective import CRITERIA, Criterion, MetricObjective

__all__ = [
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
]
