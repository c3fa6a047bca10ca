"""kraft: accurate force fields from a few hundred ab initio calculations.

From reference data to a force field:

>>> import kraft
>>> dataset = kraft.read("ethanol.npz")                                     # doctest: +SKIP
>>> parts = kraft.split(dataset, n_train=200, n_valid=200, n_test=1000)     # doctest: +SKIP
>>> force_field, result = kraft.train(parts.train, parts.valid)             # doctest: +SKIP
>>> energies, forces = force_field.predict(parts.test.positions)            # doctest: +SKIP
>>> force_field = force_field.calibrated(parts.valid)                       # doctest: +SKIP
>>> force_field.predict(parts.test.positions, uncertainty=True).forces_std  # doctest: +SKIP

Everything is in eV and Å. Names are imported when they are first used, so that the command line
starts at once and an interruption while torch loads ends it cleanly.
"""

from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING

from kraft.version import __version__

if TYPE_CHECKING:
    from kraft.core.errors import KraftError
    from kraft.data import Dataset, Split, Units, read, split, write
    from kraft.interfaces.ase import KraftCalculator
    from kraft.models import (
        AtomizedResult,
        Calibration,
        ForceField,
        MetricOptions,
        Prediction,
        SelectedFrames,
        SolverOptions,
        TrainingResult,
        UncertainPrediction,
        select_frames,
        train,
        train_aff,
    )
    from kraft.symmetry import find_permutations

    load = ForceField.load

_HOMES = {
    "AtomizedResult": "kraft.models",
    "Calibration": "kraft.models",
    "Dataset": "kraft.data",
    "ForceField": "kraft.models",
    "KraftCalculator": "kraft.interfaces.ase",
    "KraftError": "kraft.core.errors",
    "MetricOptions": "kraft.models",
    "Prediction": "kraft.models",
    "SelectedFrames": "kraft.models",
    "SolverOptions": "kraft.models",
    "Split": "kraft.data",
    "TrainingResult": "kraft.models",
    "UncertainPrediction": "kraft.models",
    "Units": "kraft.data",
    "find_permutations": "kraft.symmetry",
    "load": "kraft.models",
    "read": "kraft.data",
    "select_frames": "kraft.models",
    "split": "kraft.data",
    "train": "kraft.models",
    "train_aff": "kraft.models",
    "write": "kraft.data",
}

__all__ = [
    "AtomizedResult",
    "Calibration",
    "Dataset",
    "ForceField",
    "KraftCalculator",
    "KraftError",
    "MetricOptions",
    "Prediction",
    "SelectedFrames",
    "SolverOptions",
    "Split",
    "TrainingResult",
    "UncertainPrediction",
    "Units",
    "__version__",
    "find_permutations",
    "load",
    "read",
    "select_frames",
    "split",
    "train",
    "train_aff",
    "write",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path = "ForceField.load" if name == "load" else name
    value: object = attrgetter(path)(import_module(_HOMES[name]))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet among them."""
    return sorted({*globals(), *__all__})
