"""Several geometries as ASE's atoms, whose energies and forces come from one batched prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from kraft.core.typing import FloatArray
from kraft.models import ForceField


class ModelImages:
    """Geometries of a model's molecule that ASE may move.

    Whenever ASE asks one of them for its energy or forces, all that have moved since are predicted
    together: a batch costs a fraction of single predictions. Elements and order of the atoms are
    taken as the model's; check them before (:mod:`kraft.models.molecule_match`).

    Parameters
    ----------
    force_field
        The model.
    positions
        ``(B, N, 3)`` in Å.

    Attributes
    ----------
    atoms
        The geometries, each with a calculator.
    """

    def __init__(self, force_field: ForceField, positions: FloatArray) -> None:
        cell = force_field.parameters.cell
        self.atoms = [
            Atoms(
                numbers=force_field.atomic_numbers, positions=each, cell=cell, pbc=cell is not None
            )
            for each in positions
        ]
        self._force_field = force_field
        self._known = np.full(np.shape(positions), np.nan)
        self._energies = np.full(len(self.atoms), np.nan)
        self._forces = np.zeros(np.shape(positions))
        for index, atoms in enumerate(self.atoms):
            atoms.calc = _ImageCalculator(self, index)

    @property
    def positions(self) -> FloatArray:
        """``(B, N, 3)`` in Å, as they are now."""
        return np.stack([atoms.positions for atoms in self.atoms])

    def results(self) -> tuple[FloatArray, FloatArray]:
        """Return energies ``(B,)`` in eV and forces ``(B, N, 3)`` in eV/Å without constraints.

        Raises
        ------
        GeometryError
            When a geometry cannot be predicted.
        """
        now = self.positions
        moved = np.flatnonzero((now != self._known).any(axis=(1, 2)))
        if moved.size:
            energies, forces = self._force_field.predict(now[moved])
            self._energies[moved], self._forces[moved], self._known = energies, forces, now
        return self._energies.copy(), self._forces.copy()


class _ImageCalculator(Calculator):
    """Energy and forces of one of the geometries."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, images: ModelImages, index: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._images, self._index = images, index

    def get_property(
        self,
        name: str,
        atoms: Atoms | None = None,  # noqa: ARG002
        allow_calculation: bool = True,  # noqa: ARG002
    ) -> Any:
        """Return an energy in eV or forces ``(N, 3)`` in eV/Å."""
        if name not in self.implemented_properties:
            raise PropertyNotImplementedError(f"{name} is not something this force field predicts")
        energies, forces = self._images.results()
        return forces[self._index] if name == "forces" else float(energies[self._index])
