"""Maps from geometries to features that do not change when a molecule moves or turns."""

from kraft.descriptors.base import Descriptor, Features
from kraft.descriptors.feature_functions import (
    FEATURE_FUNCTIONS,
    FeatureFunction,
    feature_function,
)
from kraft.descriptors.feature_map import FeatureMap, checked_mixing
from kraft.descriptors.internal_motions import internal_motions, visible_motions
from kraft.descriptors.pair_features import InverseDistances, PairFeatures, checked_features

__all__ = [
    "FEATURE_FUNCTIONS",
    "Descriptor",
    "FeatureFunction",
    "FeatureMap",
    "Features",
    "InverseDistances",
    "PairFeatures",
    "checked_features",
    "checked_mixing",
    "feature_function",
    "internal_motions",
    "visible_motions",
]
