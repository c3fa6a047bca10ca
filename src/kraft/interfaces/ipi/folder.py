"""The folder of a simulation by i-PI: everything that i-PI needs, and what tells it apart."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError, OptionError
from kraft.core.files import atomic_path
from kraft.core.resuming import require_same_identity
from kraft.interfaces.ipi.bead_watch import Extrapolation, distance_guard
from kraft.interfaces.ipi.input_file import (
    ALARMS,
    DRIVER,
    DRIVER_TEXT,
    INPUT,
    MODEL,
    PREFIX,
    START,
    PathIntegral,
    input_text,
    parameters_text,
    start_text,
)
from kraft.interfaces.ipi.states import RESTART, RESUME
from kraft.models import ForceField
from kraft.models.kinds import fingerprint

RECORD, LOG, LOCK, STOP = "kraft.json", "i-pi.log", ".lock", "EXIT"


@dataclass(frozen=True)
class DriverOptions:
    """What the driver does besides energies and forces.

    Attributes
    ----------
    uncertainty
        Whether the extras have standard deviations.
    max_novelty, max_force_std, on_extrapolation, threads
        See :class:`kraft.interfaces.ipi.KraftDriver`.
    """

    uncertainty: bool = False
    max_novelty: float | None = None
    max_force_std: float | None = None
    on_extrapolation: Extrapolation = "warn"
    threads: int | None = None

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the extras."""
        return ("novelty", "energy_std", "forces_std") if self.uncertainty else ("novelty",)

    def parameters(self, force_field: ForceField, interval: int, first: int = 0) -> str:
        """Return the parameters of the driver as i-PI reads them."""
        given: dict[str, object] = {
            "model": MODEL,
            "interval": interval,
            "first": first,
            "uncertainty": self.uncertainty,
            "on_extrapolation": self.on_extrapolation,
            "alarms": ALARMS,
            "start": START,
            "continued": True,
            "device": force_field.device,
            "dtype": force_field.dtype,
        }
        for name in ("max_novelty", "max_force_std", "threads"):
            if getattr(self, name) is not None:
                given[name] = getattr(self, name)
        return parameters_text(given)


def prepare(
    force_field: ForceField,
    start: ArrayLike,
    folder: str | os.PathLike[str],
    run: PathIntegral,
    driver: DriverOptions = DriverOptions(),
    *,
    overwrite: bool = False,
) -> Path:
    """Write a folder from which i-PI runs, and return its input file.

    Parameters
    ----------
    force_field
        The model; a copy of it goes into the folder.
    start
        ``(N, 3)`` in Å, where all beads start.
    folder
        Where to; made when it is not there.
    run
        What to simulate.
    driver
        What the driver does.
    overwrite
        Whether a simulation that is there is replaced.

    Raises
    ------
    OptionError
        When there is a simulation already.
    GeometryError
        When the start does not fit the model.
    """
    target = Path(folder)
    text = checked_start(force_field, start, driver)
    clear(target, overwrite=overwrite)
    target.mkdir(parents=True, exist_ok=True)
    force_field.save(target / MODEL)
    parameters = driver.parameters(force_field, run.frame_interval)
    (target / START).write_text(text, encoding="utf-8")
    (target / DRIVER).write_text(DRIVER_TEXT, encoding="utf-8")
    (target / INPUT).write_text(input_text(run, parameters, driver.extras), encoding="utf-8")
    with atomic_path(target / RECORD) as temporary:
        content = json.dumps(identity(force_field, text, run, driver), indent=2)
        temporary.write_text(content + "\n", encoding="utf-8")
    return target / INPUT


def checked_start(force_field: ForceField, start: ArrayLike, driver: DriverOptions) -> str:
    """Return a start ``(N, 3)`` in Å as i-PI's XYZ.

    Raises
    ------
    GeometryError
        When it does not fit the model, is not finite, or is unsound and that is not ignored.
    """
    positions = np.asarray(start, dtype=np.float64)
    expected = (len(force_field.atomic_numbers), 3)
    if positions.shape != expected:
        raise GeometryError(f"Expected a start of shape {expected} in Å, got {positions.shape}.")
    if not np.isfinite(positions).all():
        raise GeometryError("Expected a finite start, got NaN or infinite positions.")
    if driver.on_extrapolation != "ignore":
        distance_guard(force_field, positions[None])
    return start_text(force_field.atomic_numbers, positions, force_field.parameters.cell)


def identity(
    force_field: ForceField, start: str, run: PathIntegral, driver: DriverOptions
) -> dict[str, Any]:
    """Return what must be the same to go on with a simulation, of JSON's types."""
    options = {f"option {name}": value for name, value in dataclasses.asdict(run).items()}
    return {
        "model": fingerprint(force_field.parameters),
        "start geometry": hashlib.sha256(start.encode()).hexdigest()[:16],
        "precision": force_field.dtype,
        "option uncertainty": driver.uncertainty,
        **options,
    }


def check_identity(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Raise OptionError, naming the difference, unless the folder's simulation is this one."""
    saved = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    require_same_identity(
        saved,
        wanted,
        folder,
        begun="simulation begun",
        same="model, start and options",
        free=("option n_steps",),
    )


def clear(folder: Path, *, overwrite: bool, look_only: bool = False) -> None:
    """Remove the simulation that a folder holds; other files stay.

    Raises
    ------
    OptionError
        When there is one and it is not to be overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder} is a file. Expected the name of a folder for the simulation.")
    names = (INPUT, START, MODEL, DRIVER, ALARMS, RECORD, LOG, STOP, RESTART, RESUME)
    there = [path for name in names if (path := folder / name).exists()]
    there += [
        *folder.glob(f"{PREFIX}.*"),
        *folder.glob(f"#{PREFIX}.*"),
        *folder.glob(f"#{RESTART}*"),
    ]
    if there and not overwrite:
        raise OptionError(
            f"{folder} holds a simulation already. Go on with it by --resume, choose another "
            "folder, or start anew and lose it with --overwrite."
        )
    for path in () if look_only else there:
        path.unlink()


def lock(descriptor: int, folder: Path) -> None:
    """Lock a folder by an open file in it; raise OptionError when it is locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OptionError(
            f"A simulation is running in {folder}. Wait for it, or stop it; when kraft was killed, "
            "i-PI saves its state and ends by itself within seconds."
        ) from None
