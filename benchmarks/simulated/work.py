"""Where a row works: its data, models and folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reporting import Figures

import kraft

from .cases import MODELS
from .models import dataset, model

Array = NDArray[np.float64]


@dataclass(eq=False)
class Work:
    """Where a row works.

    Attributes
    ----------
    data
        Folder of reference data.
    root
        Folder of models and, until a row is done, trajectories.
    name
        Of the row.
    quick
        Whether everything is tiny.
    models
        Figures of the models used so far.
    """

    data: Path
    root: Path
    name: str
    quick: bool = False
    models: dict[str, Figures] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Folder of the trajectories."""
        return self.root / self.name

    @property
    def scan_step(self) -> float:
        """Degrees between the points of a scan."""
        return 30.0 if self.quick else 10.0

    def resolution(self, wanted: float) -> float:
        """Return the resolution of a spectrum in 1/cm."""
        return 150.0 if self.quick else wanted

    def model(self, key: str) -> tuple[kraft.ForceField, Array]:
        """Return a model and its training geometries ``(M, N, 3)`` in Å."""
        case = MODELS[key].quick() if self.quick else MODELS[key]
        force_field, figures = model(key, case, self.data, self.root)
        self.models[key] = figures
        positions = force_field.parameters.training_positions
        if positions is None:
            raise ValueError(f"{key} lacks its training geometries")
        return force_field, np.asarray(positions, dtype=np.float64)

    def frames(self, key: str) -> Array:
        """Return all geometries ``(M, N, 3)`` of a model's data in Å."""
        return dataset(MODELS[key], self.data).positions
