"""kraft: accurate force fields from a few hundred ab initio calculations.

From reference data to a force field:

>>> import kraft
>>> dataset = kraft.read("ethanol.npz")                                     # doctest: +SKIP
>>> parts = kraft.split(dataset, n_train=200, n_valid=200, n_test=1000)     # doctest: +SKIP
>>> force_field, result = kraft.train(parts.train, parts.valid)             # doctest: +SKIP
>>> energies, forces = force_field.predict(parts.test.positions)            # doctest: +SKIP

Everything is in eV and Å.
"""

from kraft.core.errors import KraftError
from kraft.data import Dataset, Split, Units, read, split, write
from kraft.interfaces.ase import KraftCalculator
from kraft.models import ForceField, Prediction, TrainingResult, train
from kraft.symmetry import find_permutations
from kraft.version import __version__

load = ForceField.load

__all__ = [
    "Dataset",
    "ForceField",
    "KraftCalculator",
    "KraftError",
    "Prediction",
    "Split",
    "TrainingResult",
    "Units",
    "__version__",
    "find_permutations",
    "load",
    "read",
    "split",
    "train",
    "write",
]
