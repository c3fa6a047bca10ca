"""Frames for the peers that are trained here, and their errors; needs nothing but NumPy.

Runs in the peers' environments. A request names ``dataset`` (sGDML ``.npz``, kcal/mol and Å) and
``train_indices``, ``valid_indices``, ``test_indices``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from platform import python_version
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Frames:
    """Geometries of one molecule: Å, kcal/mol, kcal/mol/Å."""

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    forces: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def first(self, count: int) -> Frames:
        """Return the first ``count`` frames."""
        return self.take(np.arange(min(count, len(self))))

    def take(self, indices: np.ndarray) -> Frames:
        """Return these frames."""
        arrays = (self.positions, self.energies, self.forces)
        return Frames(self.numbers, *(array[indices] for array in arrays))


def requested(request: dict[str, Any]) -> tuple[Frames, Frames, Frames]:
    """Return the frames to train with, to choose settings by and to test with."""
    with np.load(request["dataset"], allow_pickle=False) as archive:
        unit = str(archive["e_unit"]) if "e_unit" in archive.files else "kcal/mol"
        if unit != "kcal/mol":
            raise ValueError(
                f"{request['dataset']} is in {unit}, not in kcal/mol: convert it first"
            )
        whole = Frames(
            np.asarray(archive["z"], dtype=np.int32),
            np.asarray(archive["R"], dtype=np.float64),
            np.ravel(np.asarray(archive["E"], dtype=np.float64)),
            np.asarray(archive["F"], dtype=np.float64),
        )
    names = ("train_indices", "valid_indices", "test_indices")
    train, valid, test = (whole.take(np.asarray(request[name], dtype=int)) for name in names)
    return train, valid, test


def errors(energies: np.ndarray, forces: np.ndarray, frames: Frames) -> dict[str, float]:
    """Return the mean absolute and root mean square errors of predictions."""
    energy = np.ravel(energies) - frames.energies
    force = np.reshape(forces, frames.forces.shape) - frames.forces
    return {
        "energy_mae": float(np.abs(energy).mean()),
        "energy_rmse": float(np.sqrt((energy**2).mean())),
        "force_mae": float(np.abs(force).mean()),
        "force_rmse": float(np.sqrt((force**2).mean())),
    }


def versions(*packages: str) -> str:
    """Return the versions of packages and of Python."""
    found = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{found}, Python {python_version()}"
