"""Reference data: datasets, units, readers, writers, checks and sampling."""

from kraft.data.dataset import Dataset, Provenance
from kraft.data.units import Units

__all__ = ["Dataset", "Provenance", "Units"]
