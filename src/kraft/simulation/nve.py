"""Molecular dynamics at constant energy: the test that a force field conserves it.

The integrator is ASE's velocity Verlet. With forces that are exactly minus the gradient of one
smooth energy the total energy fluctuates with the square of the time step but does not drift.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ase.units
import numpy as np
from ase import Atoms

from kraft.core.errors import GeometryError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.core.typing import FloatArray
from kraft.simulation.system import without_rigid_motion

FRICTION = 0.02
"""1/fs: of the Langevin thermostat that brings a molecule to its temperature."""

NONCONSERVATIVE = (
    "The forces of this model are not exactly the gradient of its energy, so its energy is not "
    "conserved and drifts even with a short time step (kraft.analysis.conservation measures by how "
    "much). For dynamics at constant energy train an sGDML model; for a thermostatted run, or if "
    "the drift is what you want to see, pass allow_nonconservative=True."
)
"""What a run at constant energy tells about a model such as AFF."""

_REPORT_STEPS = 50
_LINEAR = 1e-6


@dataclass(frozen=True, eq=False)
class NveRun:
    """What a run at constant energy recorded.

    Attributes
    ----------
    times
        ``(T,)`` ps, from 0.
    potential, kinetic
        ``(T,)`` energies in eV.
    temperatures
        ``(T,)`` instantaneous temperatures in K.
    positions, velocities
        ``(F, N, 3)`` in Å and in Å/fs, every so many steps.
    frame_times
        ``(F,)`` ps, the times of the positions.
    """

    times: FloatArray
    potential: FloatArray
    kinetic: FloatArray
    temperatures: FloatArray
    positions: FloatArray
    velocities: FloatArray
    frame_times: FloatArray

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.positions.shape[1])

    @property
    def total(self) -> FloatArray:
        """``(T,)`` total energies in eV."""
        return self.potential + self.kinetic

    @property
    def duration(self) -> float:
        """Simulated time in ps."""
        return float(self.times[-1])

    @property
    def mean_temperature(self) -> float:
        """Mean temperature in K."""
        return float(self.temperatures.mean())

    @property
    def energy_drift(self) -> float:
        """Slope of a straight line through the total energy, in eV per atom per ps, signed."""
        return self._line()[0]

    @property
    def energy_drift_uncertainty(self) -> float:
        """Standard error of `energy_drift` from the slopes of four parts of the run."""
        centered = self.total - self.total[0]
        slopes = [
            np.polyfit(times, energies, 1)[0] / self.n_atoms
            for times, energies in zip(
                np.array_split(self.times, 4), np.array_split(centered, 4), strict=True
            )
        ]
        return float(np.std(slopes, ddof=1) / 2.0)

    @property
    def energy_fluctuation(self) -> float:
        """Standard deviation of the total energy around that line, in eV per atom."""
        return self._line()[1]

    def _line(self) -> tuple[float, float]:
        centered = self.total - self.total[0]
        slope, intercept = np.polyfit(self.times, centered, 1)
        residual = centered - (slope * self.times + intercept)
        return float(slope) / self.n_atoms, float(residual.std()) / self.n_atoms


def run_nve(
    atoms: Atoms,
    *,
    temperature: float = 300.0,
    timestep: float = 0.5,
    n_steps: int = 2000,
    n_equilibration: int = 0,
    frame_interval: int = 20,
    seed: int = 0,
    allow_nonconservative: bool = False,
    progress: Progress = silent,
) -> NveRun:
    """Simulate a molecule at constant energy.

    Velocities are drawn at the temperature, without net translation and, for a free molecule,
    without rotation. With ``n_equilibration`` steps of Langevin dynamics before, the energy is that
    of the temperature; without, the run starts as it is, and a relaxed geometry ends up at half of
    the temperature.

    Parameters
    ----------
    atoms
        The molecule with its calculator (``atoms.calc = KraftCalculator(model)``); not changed.
    temperature
        K.
    timestep
        fs.
    n_steps
        Steps at constant energy.
    n_equilibration
        Steps of Langevin dynamics before.
    frame_interval
        Positions and velocities are kept every so many steps.
    seed
        Of the velocities and of the thermostat.
    allow_nonconservative
        Do not warn when the forces are known not to be the gradient of the energy.
    progress
        Told about steps.

    Returns
    -------
    NveRun
        Energies at every step and the frames.

    Warns
    -----
    UserWarning
        When the calculator says that its forces are not the gradient of its energy (an AFF model).

    Raises
    ------
    OptionError
        When a number is out of its range or the atoms have no calculator.
    GeometryError
        When positions become infinite, or the calculator refuses a geometry.
    """
    from ase.md.langevin import Langevin  # slow: only where they are used
    from ase.md.verlet import VelocityVerlet

    _check_options(atoms, temperature, timestep, n_steps, n_equilibration, frame_interval)
    if not (allow_nonconservative or getattr(atoms.calc, "conservative", True)):
        warnings.warn(NONCONSERVATIVE, stacklevel=2)
    moving: Any = atoms.copy()  # type: ignore[no-untyped-call]
    moving.calc = atoms.calc
    random = generator(seed, "nve")
    _draw_velocities(moving, temperature, random)
    if n_equilibration:
        thermostat = Langevin(
            moving,
            timestep * ase.units.fs,
            temperature_K=temperature,
            friction=FRICTION / ase.units.fs,
            fixcm=False,
            rng=random,
        )
        _run(thermostat, moving, n_equilibration, _ignore, "equilibrating", progress)
        _stop_rigid_motion(moving)
    record = _Record(moving, n_steps, frame_interval, timestep)
    dynamics = VelocityVerlet(moving, timestep * ase.units.fs)
    _run(dynamics, moving, n_steps, record.take, "dynamics", progress)
    return record.result()


class _Record:
    """Collects energies at every step and frames now and then."""

    def __init__(self, atoms: Atoms, n_steps: int, frame_interval: int, timestep: float) -> None:
        self._atoms: Any = atoms
        self._interval = frame_interval
        self._timestep = timestep
        self._energies = np.empty((n_steps + 1, 2))
        self._frames: list[tuple[FloatArray, FloatArray]] = []
        self._degrees_of_freedom = _degrees_of_freedom(atoms)

    def take(self, step: int) -> None:
        atoms = self._atoms
        self._energies[step] = atoms.get_potential_energy(), atoms.get_kinetic_energy()
        if step % self._interval == 0:
            velocities = atoms.get_velocities() * ase.units.fs
            self._frames.append((atoms.get_positions(), velocities))

    def result(self) -> NveRun:
        to_ps = 1e-3 * self._timestep
        potential, kinetic = self._energies.T.copy()
        positions, velocities = (np.array(part) for part in zip(*self._frames, strict=True))
        times = np.arange(len(potential), dtype=np.float64)
        frame_times = np.arange(len(positions), dtype=np.float64)
        times *= to_ps
        frame_times *= self._interval * to_ps
        return NveRun(
            times=times,
            potential=potential,
            kinetic=kinetic,
            temperatures=2.0 * kinetic / (self._degrees_of_freedom * ase.units.kB),
            positions=positions,
            velocities=velocities,
            frame_times=frame_times,
        )


def _run(
    dynamics: Any,
    atoms: Atoms,
    n_steps: int,
    observe: Callable[[int], None],
    stage: str,
    progress: Progress,
) -> None:
    """Take steps; stop with an error when positions are no numbers any more."""
    for step, _ in enumerate(dynamics.irun(n_steps)):
        if not np.isfinite(atoms.arrays["positions"]).all():
            raise GeometryError(
                f"Positions became infinite in step {step} ({stage}). The molecule has left the "
                "region that the model knows, or the time step is too long: take a shorter time "
                "step, a lower temperature or more training geometries."
            )
        observe(step)
        if step % _REPORT_STEPS == 0 or step == n_steps:
            progress(stage, step, n_steps)


def _ignore(step: int) -> None:
    """Observe nothing."""


def _draw_velocities(atoms: Any, temperature: float, random: np.random.Generator) -> None:
    """Draw velocities without rigid motion whose kinetic energy is that of the temperature."""
    widths = np.sqrt(atoms.get_masses() * ase.units.kB * max(temperature, 1e-9))
    atoms.set_momenta(widths[:, None] * random.standard_normal((len(atoms), 3)))
    _stop_rigid_motion(atoms)
    wanted = 0.5 * _degrees_of_freedom(atoms) * ase.units.kB * temperature
    drawn = atoms.get_kinetic_energy()
    atoms.set_momenta(atoms.get_momenta() * np.sqrt(wanted / drawn if drawn > 0.0 else 0.0))


def _stop_rigid_motion(atoms: Any) -> None:
    """Take the net momentum away and, from a free molecule, the angular momentum."""
    velocities = without_rigid_motion(
        atoms.get_positions()[None],
        atoms.get_velocities()[None],
        atoms.get_masses(),
        free=not atoms.pbc.any(),
    )
    atoms.set_velocities(velocities[0])


def _degrees_of_freedom(atoms: Any) -> int:
    """Return the number of motions left without translation and, when free, rotation."""
    n_rotations = 0
    if not atoms.pbc.any():
        moments = atoms.get_moments_of_inertia()
        n_rotations = int((moments > _LINEAR * moments.max()).sum())
    return max(1, 3 * len(atoms) - 3 - n_rotations)


def _check_options(
    atoms: Atoms,
    temperature: float,
    timestep: float,
    n_steps: int,
    n_equilibration: int,
    frame_interval: int,
) -> None:
    if atoms.calc is None:
        raise OptionError(
            "The atoms have no calculator. Attach one: atoms.calc = KraftCalculator(model)."
        )
    for name, value, unit in (("temperature", temperature, "K"), ("timestep", timestep, "fs")):
        if not np.isfinite(value) or value < 0.0 or (value == 0.0 and name == "timestep"):
            raise OptionError(f"Expected a positive {name} in {unit}, got {value}.")
    for name, number, least in (
        ("n_steps", n_steps, 8),
        ("n_equilibration", n_equilibration, 0),
        ("frame_interval", frame_interval, 1),
    ):
        if number < least:
            raise OptionError(f"Expected {name} of at least {least}, got {number}.")
