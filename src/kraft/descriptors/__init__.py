"""Maps from geometries to features that do not change when a molecule moves or turns."""

from kraft.descriptors.base import Descriptor, Features
from kraft.descriptors.internal_motions import internal_motions
from kraft.descriptors.inverse_distances import InverseDistances

__all__ = ["Descriptor", "Features", "InverseDistances", "internal_motions"]
