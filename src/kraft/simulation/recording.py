"""What a simulation writes: trajectories, a table of energies, geometries with alarms.

Text files that only grow. A saved state knows how long they were, so that a resumed run cuts off
what came after it and the files end up as if nothing had happened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.units
import numpy as np
from ase.data import chemical_symbols

from kraft.core.errors import DataError, OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.simulation.guards import FORCE_STD, NOVELTY
from kraft.simulation.motion import Motion
from kraft.simulation.replicas import Replicas
from kraft.simulation.signals import Signal
from kraft.simulation.steering import Steering
from kraft.simulation.system import System

LOG_COLUMNS = (
    "step",
    "time_ps",
    "replica",
    "potential_eV",
    "kinetic_eV",
    "temperature_K",
    "conserved_eV",
)
"""Columns of the table; the last is the total energy less the heat from the thermostat."""

EXTERNAL = "external_eV"
"""Column of the potential of an external force, which is part of the conserved energy only."""

MORE_COLUMNS = (EXTERNAL, NOVELTY, FORCE_STD)
"""Columns that follow in this order, where there is an external force and what guards compute."""


@dataclass(frozen=True)
class OutputFiles:
    """Names of the files of a run.

    Attributes
    ----------
    trajectories
        One for each replica, extended XYZ.
    log
        Table of energies and temperatures (CSV).
    alarms
        Geometries with alarms and the last ones before them, extended XYZ.
    restart
        The state.
    """

    trajectories: tuple[Path, ...]
    log: Path
    alarms: Path
    restart: Path

    @classmethod
    def of(cls, output: str | os.PathLike[str], n_replicas: int) -> OutputFiles:
        """Return the names for an output.

        >>> OutputFiles.of("run.xyz", 1).trajectories[0].name
        'run.xyz'
        >>> [path.name for path in OutputFiles.of("run.xyz", 12).trajectories][-1]
        'run-11.xyz'
        """
        path = Path(output)
        digits = len(str(n_replicas - 1))
        names = [f"{path.stem}-{number:0{digits}d}{path.suffix}" for number in range(n_replicas)]
        return cls(
            (path,) if n_replicas == 1 else tuple(path.with_name(name) for name in names),
            path.with_suffix(".csv"),
            path.with_suffix(f".alarms{path.suffix}"),
            path.with_suffix(".restart.safetensors"),
        )

    @property
    def growing(self) -> tuple[Path, ...]:
        """All files that are appended to."""
        return (*self.trajectories, self.log, self.alarms)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file, on the disk for sure; files that are not there have 0."""
        sizes = {}
        for path in self.growing:
            sizes[path.name] = 0
            if path.exists():
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
                    sizes[path.name] = os.fstat(handle.fileno()).st_size
        return sizes

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Cut the files to these sizes; a size of 0 removes one.

        Raises
        ------
        OptionError
            When one is missing or shorter, so that the run cannot be continued.
        """
        for path in self.growing:
            if path.name not in sizes:
                raise OptionError(
                    f"{path} was not there when the state was saved, under the names "
                    f"{', '.join(sizes)}. Give the files their names back."
                )
            wanted, there = sizes[path.name], path.stat().st_size if path.exists() else 0
            if there < wanted:
                raise OptionError(
                    f"{path} has {there} bytes, but had {wanted} when the state was saved: it was "
                    "changed or removed since. Put it back, or start anew without --resume (and "
                    "with --overwrite)."
                )
        for path in self.growing:
            if sizes[path.name] == 0:
                path.unlink(missing_ok=True)
            else:
                os.truncate(path, sizes[path.name])


class Recorder:
    """Writes frames and the table.

    Parameters
    ----------
    files
        Where to.
    system
        The molecule.
    steering
        An external force; the energies of frames are those without it.
    signals
        What the guards compute, for columns of the table.
    """

    def __init__(
        self,
        files: OutputFiles,
        system: System,
        steering: Steering | None = None,
        signals: Sequence[Signal] = (),
    ) -> None:
        self._files, self._system, self._steering = files, system, steering
        self._signals = {signal.column: signal for signal in signals}
        self._columns = (*LOG_COLUMNS, *([] if steering is None else [EXTERNAL]), *self._signals)
        self._symbols = [chemical_symbols[number] for number in system.atomic_numbers]
        self._cell = 'pbc="F F F"'
        if system.cell is not None:
            vectors = " ".join(map(repr, system.cell.reshape(-1).tolist()))
            self._cell = f'Lattice="{vectors}" pbc="T T T"'

    def begin(self) -> None:
        """Remove what is there and write the head of the table."""
        for path in self._files.growing:
            path.unlink(missing_ok=True)
        self._files.log.parent.mkdir(parents=True, exist_ok=True)
        _append(self._files.log, ",".join(self._columns) + "\n")

    def go_on(self, sizes: Mapping[str, int]) -> None:
        """Cut the files to what they were; the table keeps the columns that it began with.

        Raises
        ------
        OptionError
            When one is missing or shorter, so that the run cannot be continued.
        DataError
            When the table is none.
        """
        self._files.cut(sizes)
        self._columns = _columns_of(self._files.log)

    def record(self, replicas: Replicas) -> None:
        """Append the frames of all replicas that move, and their rows of the table."""
        motion, system = replicas.motion, self._system
        kinetic = system.kinetic(motion.velocities)
        temperatures = system.temperatures(motion.velocities)
        conserved = motion.potential + kinetic - motion.heat
        potential = motion.potential
        external = np.zeros(len(motion))
        if self._steering is not None:
            external = self._steering.potential(motion.positions)
            potential = potential - external
        columns = [potential, kinetic, temperatures, conserved]
        more = self._columns[len(LOG_COLUMNS) :]
        columns += [self._more(name, motion, external) for name in more]
        lines = []
        for row, number in enumerate(replicas.replicas):
            numbers = [float(column[row]) for column in columns]
            cells = [replicas.step, replicas.time, number, *numbers]
            lines.append(",".join(map(repr, cells)) + "\n")
            path, energy = self._files.trajectories[number], float(potential[row])
            self._frame(path, motion, row, replicas, energy)
        _append(self._files.log, "".join(lines))

    def _more(self, name: str, motion: Motion, external: FloatArray) -> FloatArray:
        """Return a column that not all tables have; NaN where nobody computes it any more."""
        if name == EXTERNAL:
            return external
        signal = self._signals.get(name)
        return np.full(len(motion), np.nan) if signal is None else signal(motion.positions)

    def _frame(
        self, path: Path, motion: Motion, row: int, replicas: Replicas, energy: float
    ) -> None:
        scalars = [f"step={replicas.step}", f"time_fs={1e3 * replicas.time!r}"]
        if np.isfinite(energy):
            scalars.append(f"energy={energy!r}")
        momenta = self._system.masses[:, None] * motion.velocities[row] / ase.units.fs
        _append(
            path,
            self._text(
                np.concatenate([motion.positions[row], momenta], axis=1),
                ":momenta:R:3",
                scalars,
            ),
        )

    def alarm(
        self, positions: FloatArray, *, replica: int, step: int, reason: str, sound: bool
    ) -> None:
        """Append a geometry ``(N, 3)`` in Å with an alarm, or the last sound one before it."""
        if not np.isfinite(positions).all():
            return
        told = [f"step={step}", f"replica={replica}", f'alarm="{reason}"', f"sound={'FT'[sound]}"]
        _append(self._files.alarms, self._text(positions, "", told))

    def _text(self, rows: FloatArray, columns: str, scalars: Sequence[str]) -> str:
        """Return a frame of extended XYZ with every digit."""
        units = "length_unit=Ang energy_unit=eV"
        comment = [self._cell, f"Properties=species:S:1:pos:R:3{columns}", units, *scalars]
        lines = [str(len(self._symbols)), " ".join(comment)]
        lines += [
            f"{symbol} {' '.join(map(repr, row))}"
            for symbol, row in zip(self._symbols, rows.tolist(), strict=True)
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, eq=False)
class Log:
    """The table of a run; one row for each frame of each replica.

    Attributes
    ----------
    steps, replicas
        ``(T,)``.
    times
        ``(T,)`` ps.
    potential, kinetic, conserved
        ``(T,)`` eV; NaN where the model has no energies.
    temperatures
        ``(T,)`` K.
    external
        ``(T,)`` eV, potential of an external force; 0 without one.
    novelty
        ``(T,)``, see :meth:`kraft.ForceField.novelty`; NaN where it was not watched.
    force_std
        ``(T,)`` eV/Å, largest standard deviation of a force component; NaN where it was not
        watched.
    """

    steps: IntArray
    times: FloatArray
    replicas: IntArray
    potential: FloatArray
    kinetic: FloatArray
    temperatures: FloatArray
    conserved: FloatArray
    external: FloatArray
    novelty: FloatArray
    force_std: FloatArray

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Log:
        """Read the table.

        Raises
        ------
        DataError
            When it is none.
        """
        names = _columns_of(Path(path))
        with Path(path).open(encoding="utf-8") as handle:
            rows = [line.split(",") for line in handle if line.endswith("\n")][1:]
        try:  # a last line that was not written to its end is left out
            table = np.array(rows, dtype=np.float64).reshape(-1, len(names)).T.copy()
        except ValueError as error:
            raise DataError(f"{path} is damaged: {error}.") from error
        more = dict(zip(names[len(LOG_COLUMNS) :], table[len(LOG_COLUMNS) :], strict=True))
        absent = np.full(table.shape[1], np.nan)
        steps, times, replicas, potential, kinetic, temperatures, conserved = table[:7]
        return cls(
            steps.astype(np.int64),
            times,
            replicas.astype(np.int64),
            potential,
            kinetic,
            temperatures,
            conserved,
            more.get(EXTERNAL, np.zeros(table.shape[1])),
            more.get(NOVELTY, absent),
            more.get(FORCE_STD, absent),
        )

    @property
    def mean_temperature(self) -> float:
        """Mean temperature in K, without the start."""
        later = self.steps > 0
        return float(self.temperatures[later].mean()) if later.any() else float("nan")

    def drift(self, n_atoms: int) -> float:
        """Return the slope of the conserved energy in eV per atom and ps, mean over replicas.

        NaN with fewer than three frames or without energies.
        """
        slopes = []
        for number in np.unique(self.replicas):
            rows = self.replicas == number
            if rows.sum() >= 3 and np.isfinite(self.conserved[rows]).all():
                centered = self.conserved[rows] - self.conserved[rows][0]
                slopes.append(np.polyfit(self.times[rows], centered, 1)[0] / n_atoms)
        return float(np.mean(slopes)) if slopes else float("nan")


def _columns_of(path: Path) -> tuple[str, ...]:
    """Return the columns of a table; raise DataError when it is none."""
    with path.open(encoding="utf-8") as handle:
        names = tuple(handle.readline().strip().split(","))
    more = tuple(name for name in MORE_COLUMNS if name in names)
    if names != (*LOG_COLUMNS, *more):
        raise DataError(f"{path} is no table of a simulation: expected {LOG_COLUMNS}.")
    return names


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as handle:
        handle.write(text)
