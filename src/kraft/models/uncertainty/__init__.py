"""Predictive uncertainty: exact standard deviations, cheap ones, and signals of unknown ground."""

from kraft.models.uncertainty.base import (
    METHODS,
    Deviations,
    Direction,
    UncertaintyModel,
    UncertaintyOptions,
)

__all__ = ["METHODS", "Deviations", "Direction", "UncertaintyModel", "UncertaintyOptions"]
