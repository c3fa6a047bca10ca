"""The force field as a driver of i-PI that predicts all beads at once.

i-PI (https://ipi-code.org) gives positions in bohr and takes energies in hartree, forces in
hartree/bohr. Its ``<ffdirect>`` loads this file (``<pes>custom</pes>``, ``<pes_path>`` the path
:data:`DRIVER_FILE`) and calls the class once a step with the lists of all beads when
``<batch_size>`` is their number::

    <ffdirect name="kraft">
      <pes>custom</pes>
      <pes_path>kraft_driver.py</pes_path>
      <batch_size>16</batch_size>
      <parameters>{model: ethanol.safetensors}</parameters>
    </ffdirect>
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import ase.units
import numpy as np
import torch

from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray
from kraft.interfaces.ipi.bead_watch import BeadAlarm, BeadWatch, Extrapolation
from kraft.models import ForceField
from kraft.models.force_field import Precision
from kraft.models.molecule_match import check_order as require_order
from kraft.models.prediction import Prediction, UncertainPrediction

__DRIVER_NAME__ = "kraft"
__DRIVER_CLASS__ = "KraftDriver"

DRIVER_FILE = Path(__file__).resolve()
"""Path of this file, for ``<pes_path>``."""

BOHR = float(ase.units.Bohr)
"""Å."""

HARTREE = float(ase.units.Hartree)
"""eV."""

Result = tuple[float, FloatArray, FloatArray, str]
"""Energy in hartree, forces ``(N, 3)`` in hartree/bohr, virial ``(3, 3)``, extras as JSON."""

_CELL_TOLERANCE = 1e-4
_OF_IPI = {"verbose", "verbosity"}
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


class KraftDriver:
    """Energies and forces of a force field in atomic units, for one bead or all of them at once.

    The virial is that of a molecule in free space, the sum of positions times forces; of periodic
    models it is not known, NaN, so that constant pressure is not possible. The extras are JSON:
    ``novelty`` and, when asked for, ``energy_std`` in eV and ``forces_std``, the largest standard
    deviation of a force component, in eV/Å. They are NaN at calls at which they are not computed.

    Parameters
    ----------
    model
        A force field, or the path of a model file.
    interval
        Calls between computations of the extras and looks at the beads; 0 for none. Call 0 has
        them.
    first
        Number of the first call, so that a resumed run computes them at the same steps.
    uncertainty
        Whether extras have standard deviations; these cost more than the forces.
    max_novelty
        Novelty that counts as extrapolation, as broken bonds and close contacts do; no limit by
        default.
    max_force_std
        Largest standard deviation of a force component in eV/Å, likewise; costs more than the
        forces.
    on_extrapolation
        What follows: ``"stop"`` raises ExtrapolationError, ``"warn"`` tells and writes to
        ``alarms`` only, once for each kind of alarm and bead, ``"ignore"`` does nothing.
    alarms
        Extended XYZ to append geometries to that count as extrapolation, and the last sound ones
        of their beads before.
    start
        File with a geometry (Å) that tells which atoms are bonded; by default a typical training
        geometry does, or those that come first where the model has none.
    continued
        Whether alarms that the file has already are of this simulation, and known.
    on_alarm
        Told about alarms when they occur; not from i-PI's input.
    check_order
        Whether the first geometry is compared with the training geometries, to find atoms that
        stand in another order: i-PI does not tell elements.
    device, dtype
        Where and in which precision to compute.
    threads
        Processor threads to use.
    **of_ipi
        ``verbose`` and ``verbosity``, which i-PI adds, are not used.

    Raises
    ------
    OptionError
        When an option is unknown or out of its range.
    ModelFileError
        When the file is no model.

    Attributes
    ----------
    force_field
        The model.
    alarms
        File of geometries with alarms, or None.
    """

    def __init__(
        self,
        model: ForceField | str | os.PathLike[str],
        interval: int | str = 1,
        first: int | str = 0,
        uncertainty: bool | str = False,
        max_novelty: float | str | None = None,
        max_force_std: float | str | None = None,
        on_extrapolation: str = "warn",
        alarms: str | os.PathLike[str] | None = None,
        start: str | os.PathLike[str] | None = None,
        continued: bool | str = False,
        on_alarm: Callable[[BeadAlarm], None] | None = None,
        check_order: bool | str = True,
        device: str = "cpu",
        dtype: str = "float64",
        threads: int | str | None = None,
        **of_ipi: Any,
    ) -> None:
        unknown = set(of_ipi) - _OF_IPI
        if unknown:
            raise OptionError(
                f"Unknown parameters of the driver: {', '.join(sorted(unknown))}. Expected model, "
                "interval, first, uncertainty, max_novelty, max_force_std, on_extrapolation, "
                "alarms, start, continued, check_order, device, dtype or threads."
            )
        if on_extrapolation not in ("stop", "warn", "ignore"):
            raise OptionError(
                f"Expected on_extrapolation to be stop, warn or ignore, got {on_extrapolation!r}."
            )
        if threads is not None:
            torch.set_num_threads(_count("threads", threads, 1))
        loaded = model if isinstance(model, ForceField) else ForceField.load(model)
        self.force_field = loaded.to(device=device, dtype=cast(Precision, dtype))
        self._interval = _count("interval", interval, 0)
        self._call = _count("first", first, 0)
        self._uncertainty = _switch("uncertainty", uncertainty)
        self._to_check = _switch("check_order", check_order)
        self._watch = BeadWatch(
            self.force_field,
            action=cast(Extrapolation, on_extrapolation),
            max_novelty=_limit("max_novelty", max_novelty),
            max_force_std=_limit("max_force_std", max_force_std),
            alarms=None if alarms is None else Path(alarms),
            start=None if start is None else Path(start),
            continued=_switch("continued", continued),
            on_alarm=on_alarm,
        )
        self.alarms = None if alarms is None else Path(alarms)
        self._deviates = self._uncertainty or self._watch.wants_force_std
        if self._deviates and self._interval > 0:
            self.force_field.prepare_uncertainty()

    def __call__(self, cell: Any, pos: Any) -> Any:
        """Return the results of one geometry, or the list of those of many.

        Parameters
        ----------
        cell
            ``(3, 3)`` columns are vectors, in bohr; or a list of them.
        pos
            ``(N, 3)`` in bohr; or a list of them.

        Returns
        -------
        tuple or list
            (:data:`Result`) Energy in hartree, forces ``(N, 3)`` in hartree/bohr, virial and
            extras; a list of these for lists.

        Raises
        ------
        GeometryError
            When a geometry does not fit the model or is too far from its data.
        """
        if isinstance(pos, list):
            return self.compute(np.asarray(cell), np.asarray(pos))
        return self.compute(np.asarray(cell)[None], np.asarray(pos)[None])[0]

    def compute(self, cells: FloatArray, positions: FloatArray) -> list[Result]:
        """Return the results at ``(B, N, 3)`` in bohr; ``cells`` ``(B, 3, 3)`` in bohr."""
        geometries = BOHR * positions
        if self._call == 0 or self._to_check:
            self._check(cells, geometries)
        looks = self._interval > 0 and self._call % self._interval == 0
        predicted = self.force_field.predict(geometries, uncertainty=looks and self._deviates)
        extras = self._extras(geometries, predicted, looks)
        self._call += 1
        energies = predicted.energies / HARTREE
        forces = predicted.forces * (BOHR / HARTREE)
        virials = positions.transpose(0, 2, 1) @ forces
        if self.force_field.parameters.cell is not None:
            virials = np.full_like(virials, np.nan)
        return list(zip(energies.tolist(), forces, virials, extras, strict=True))

    def _extras(
        self, geometries: FloatArray, predicted: Prediction | UncertainPrediction, looks: bool
    ) -> list[str]:
        """Return the extras of each geometry ``(B, N, 3)`` in Å, and judge them."""
        if self._interval == 0:
            return [""] * len(geometries)
        if not looks:
            names = ("novelty", "energy_std", "forces_std") if self._uncertainty else ("novelty",)
            return [json.dumps(dict.fromkeys(names, np.nan))] * len(geometries)
        columns = {"novelty": self.force_field.novelty(geometries)}
        force_std = None
        if isinstance(predicted, UncertainPrediction):
            force_std = predicted.forces_std.max(axis=(1, 2))
            if self._uncertainty:
                columns |= {"energy_std": predicted.energies_std, "forces_std": force_std}
        self._watch.look(geometries, columns["novelty"], self._call, force_std)
        rows = np.array(list(columns.values())).T.tolist()
        return [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]

    def _check(self, cells: FloatArray, geometries: FloatArray) -> None:
        """Raise unless cell, number of atoms and order are the model's."""
        n_atoms, expected = geometries.shape[1], len(self.force_field.atomic_numbers)
        if n_atoms != expected:
            raise GeometryError(
                f"The model is for {expected} atoms, i-PI has {n_atoms}. Expected the molecule "
                "that the model was trained on."
            )
        cell = self.force_field.parameters.cell
        if cell is not None and np.abs(BOHR * cells[0].T - cell).max() > _CELL_TOLERANCE:
            raise GeometryError(
                f"The model is for a periodic cell with the vectors {cell.tolist()} Å, i-PI has "
                f"{(BOHR * cells[0].T).tolist()} Å. Give i-PI the cell of the training data."
            )
        if self._to_check:
            require_order(self.force_field, geometries[0])
            self._to_check = False


def _switch(name: str, value: bool | str) -> bool:
    """Return what i-PI read from its input as a switch."""
    text = str(value).strip().lower()
    if text not in _TRUE + _FALSE:
        raise OptionError(f"Expected {name} to be True or False, got {value!r}.")
    return text in _TRUE


def _count(name: str, value: int | str, least: int) -> int:
    try:
        number = int(value)
    except ValueError:
        number = least - 1
    if number < least:
        raise OptionError(f"Expected {name} to be a number of at least {least}, got {value!r}.")
    return number


def _limit(name: str, value: float | str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not number > 0.0:
        raise OptionError(f"Expected {name} to be a positive number, got {value!r}.")
    return number
