"""The force field as a calculator of ASE, the atomic simulation environment."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    CalculatorSetupError,
    PropertyNotImplementedError,
    all_changes,
)

from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray
from kraft.models.force_field import ForceField, Precision
from kraft.models.molecule_match import OrderReference, check_elements

JUMP = 0.5
"""Å: when an atom moves farther than this between calculations, the atom order is checked again."""

_CELL_TOLERANCE = 1e-6

_STANDARD_DEVIATIONS = ("energy_std", "energies_std", "forces_std")


class KraftCalculator(Calculator):
    """Energies in eV and forces in eV/Å of a force field, for anything that ASE can do with them.

    The atoms must be the model's molecule in the model's atom order. Elements are compared at every
    calculation, and the first geometry (and every one after a jump) with the training geometries,
    so that like atoms in exchanged places are found too.

    Parameters
    ----------
    model
        A force field, or the path of a model file.
    check_order
        Whether geometries are compared with the training geometries to find exchanged atoms. Switch
        it off for geometries that are meant to be far from those, if ever it is in the way.
    uncertainty
        Whether each calculation also gives standard deviations: ``forces_std`` ``(N, 3)`` in eV/Å
        and ``energy_std`` in eV (``energies_std`` is the same number) in ``results`` and through
        ``get_property``. They cost more than the energy and forces, see
        :attr:`kraft.ForceField.uncertainty`.
    novelty
        Whether each calculation also gives ``novelty``, a cheap measure of how far the geometry is
        from the training geometries: about 1 near them, growing outside.
    device, dtype
        Where and in which precision to compute; by default as the force field is set.

    Warns
    -----
    UserWarning
        When the model is unconverged: its linear system was not solved as well as asked for.

    Raises
    ------
    ModelFileError
        When the file is no model.
    GeometryError
        At a calculation, when the atoms do not fit the model; the message says what to do.

    Examples
    --------
    >>> from ase.build import molecule
    >>> atoms = molecule("CH3CH2OH")
    >>> atoms.calc = KraftCalculator("ethanol.safetensors")    # doctest: +SKIP
    >>> atoms.get_potential_energy()                           # doctest: +SKIP
    -309.8
    >>> atoms.calc = KraftCalculator("ethanol.safetensors", uncertainty=True)    # doctest: +SKIP
    >>> atoms.get_forces()                                     # doctest: +SKIP
    >>> atoms.calc.results["forces_std"]                       # doctest: +SKIP
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        model: ForceField | str | os.PathLike[str],
        *,
        check_order: bool = True,
        uncertainty: bool = False,
        novelty: bool = False,
        device: str | None = None,
        dtype: Precision | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        loaded = model if isinstance(model, ForceField) else ForceField.load(model)
        if loaded.record.caution:
            warnings.warn(loaded.record.caution, stacklevel=2)
        self.force_field = loaded.to(device=device, dtype=dtype)
        self._order = OrderReference.of(self.force_field) if check_order else None
        self._uncertainty, self._novelty = uncertainty, novelty
        if uncertainty:
            self.force_field.prepare_uncertainty()
        extra = [*(_STANDARD_DEVIATIONS if uncertainty else ()), *(["novelty"] if novelty else ())]
        self.implemented_properties = [*self.implemented_properties, *extra]

    @property
    def conservative(self) -> bool:
        """Whether forces are exactly the negative gradient of the energy (AFF: False)."""
        return self.force_field.conservative

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:  # noqa: ARG002
        """Return what has changed since the last calculation and matters to the model.

        Positions, atomic numbers, cell and periodicity; ``tol`` is not used, every change counts.
        """
        last = self.atoms
        if last is None:
            return list(all_changes)
        changes = [
            name
            for name in ("positions", "numbers")
            if not np.array_equal(last.arrays[name], atoms.arrays[name])
        ]
        if not np.array_equal(last.pbc, atoms.pbc):
            changes.append("pbc")
        if not np.array_equal(last.cell.array, atoms.cell.array):
            changes.append("cell")
        return changes

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return ``energy`` or ``free_energy`` (a float, eV) or ``forces`` ``(N, 3)`` in eV/Å.

        With ``uncertainty=True`` also ``forces_std``, ``energy_std`` and ``energies_std``, with
        ``novelty=True`` also ``novelty``. Without ``atoms`` that of the last calculation; None when
        a calculation would be needed but is not allowed.

        Raises
        ------
        PropertyNotImplementedError
            For any other property.
        CalculatorSetupError
            Without atoms, when nothing was calculated yet.
        GeometryError
            When the atoms do not fit the model.
        """
        if name not in self.implemented_properties:
            raise PropertyNotImplementedError(f"{name} is not something this force field predicts")
        if atoms is None:
            atoms = self.atoms
            if atoms is None:
                raise CalculatorSetupError("Nothing was calculated yet: pass the atoms.")
            changes = [] if self.results else list(all_changes)
        else:
            changes = self.check_state(atoms)
        if changes or name not in self.results:
            if not allow_calculation:
                return None
            self.calculate(atoms, [name], changes)
        value = self.results[name]
        return value.copy() if isinstance(value, np.ndarray) else value

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,  # noqa: ARG002
        system_changes: list[str] = all_changes,
    ) -> None:
        """Calculate energy and forces of ``atoms`` and keep them in ``results``."""
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise CalculatorSetupError("There are no atoms to calculate: pass them.")
        self.results = {}
        positions = atoms.arrays["positions"]
        self._check(atoms, positions, system_changes)
        results = self._predicted(positions)
        self._remember(atoms, positions, system_changes)
        self.results = results

    def _predicted(self, positions: FloatArray) -> dict[str, Any]:
        """Return what was asked for at ``(N, 3)`` in Å, under the names of ``results``."""
        deviations: dict[str, Any] = {}
        if self._uncertainty:
            predicted = self.force_field.predict(positions, uncertainty=True)
            energy, forces = predicted[:2]
            std = float(predicted.energies_std)
            deviations |= {
                "energy_std": std,
                "energies_std": std,
                "forces_std": predicted.forces_std,
            }
        else:
            energy, forces = self.force_field.predict(positions)
        if self._novelty:
            deviations["novelty"] = float(self.force_field.novelty(positions))
        value = float(energy)
        return {"energy": value, "free_energy": value, "forces": forces, **deviations}

    def get_hessian(self, atoms: Atoms | None = None) -> FloatArray:
        """Return the analytic Hessian ``(3N, 3N)`` in eV/Å² of ``atoms`` (or the last ones).

        Raises
        ------
        GeometryError
            When the atoms do not fit the model.
        OptionError
            When the model has no Hessian (AFF).
        """
        self.get_property("energy", atoms)
        last: Any = self.atoms
        return self.force_field.hessian(last.arrays["positions"])

    def _check(self, atoms: Atoms, positions: FloatArray, changes: list[str]) -> None:
        """Raise GeometryError unless the atoms fit the model."""
        if "numbers" in changes:
            advised_by = positions if self._order is not None else None
            check_elements(self.force_field, atoms.numbers, advised_by)
        if "pbc" in changes or "cell" in changes:
            self._check_cell(atoms)
        if self._order is not None and self._jumped(positions, changes):
            self._order.check(positions)

    def _jumped(self, positions: FloatArray, changes: list[str]) -> bool:
        if self.atoms is None or "numbers" in changes:
            return True
        return bool(np.abs(positions - self.atoms.arrays["positions"]).max() > JUMP)

    def _check_cell(self, atoms: Atoms) -> None:
        cell = self.force_field.parameters.cell
        if cell is None:
            if atoms.pbc.any():
                raise GeometryError(
                    "The atoms are periodic, but the model is for a molecule in free space. "
                    "Expected atoms without periodic boundary conditions: atoms.pbc = False."
                )
            return
        if not atoms.pbc.any() or np.abs(atoms.cell.array - cell).max() > _CELL_TOLERANCE:
            raise GeometryError(
                f"The model is for a periodic cell with the vectors {cell.tolist()} Å, but the "
                f"atoms have the cell {atoms.cell.array.tolist()} Å and pbc={atoms.pbc.tolist()}. "
                "Expected the cell of the training data: set atoms.cell and atoms.pbc."
            )

    def _remember(self, atoms: Atoms, positions: FloatArray, changes: list[str]) -> None:
        """Keep a copy of the atoms; when only positions changed, update the copy in place."""
        if self.atoms is None or changes != ["positions"]:
            self.atoms = Atoms(
                numbers=atoms.numbers, positions=positions, cell=atoms.cell, pbc=atoms.pbc
            )
        else:
            self.atoms.arrays["positions"][:] = positions
