"""Reference data: datasets, units, readers, writers, checks and sampling."""

from kraft.data.dataset import Dataset, Provenance
from kraft.data.formats import read, write
from kraft.data.sampling import Split, split
from kraft.data.units import Units

__all__ = ["Dataset", "Provenance", "Split", "Units", "read", "split", "write"]
