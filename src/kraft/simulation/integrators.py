"""Integrators of the equations of motion, with and without a thermostat.

Each takes all replicas one time step further with one evaluation of the forces. They follow the
literature line by line and keep no state of their own, so that a run can be continued exactly.
ASE has the same methods for single molecules; these are tested against them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.simulation.motion import Forces, Motion
from kraft.simulation.noise import Noise
from kraft.simulation.system import BOLTZMANN, System

FRICTION = 0.01
"""1/fs: default of :class:`Langevin`."""

TIME_CONSTANT = 100.0
"""fs: default of :class:`VelocityRescaling` and :class:`NoseHooverChain`."""


class Integrator(Protocol):
    """Takes replicas one time step further."""

    keeps_momentum: ClassVar[bool]
    """Whether the total momentum of a molecule stays as it is."""

    @property
    def timestep(self) -> float:
        """Length of a step in fs."""
        ...

    def start(self, n_replicas: int, system: System, noise: Noise) -> FloatArray:
        """Return the variables of the thermostat ``(R, K)`` at the start."""
        ...

    def step(self, motion: Motion, system: System, forces: Forces, noise: Noise) -> Motion:
        """Return where the replicas are one step later."""
        ...


class _WithoutVariables:
    """An integrator whose thermostat has no variables."""

    def start(self, n_replicas: int, system: System, noise: Noise) -> FloatArray:  # noqa: ARG002
        """Return no variables: ``(R, 0)``."""
        return np.empty((n_replicas, 0))


@dataclass(frozen=True)
class VelocityVerlet(_WithoutVariables):
    """Constant energy: Swope, Andersen, Berens, Wilson, J. Chem. Phys. 76, 637 (1982).

    Attributes
    ----------
    timestep
        fs.
    """

    timestep: float
    keeps_momentum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_positive(timestep=self.timestep)

    def step(self, motion: Motion, system: System, forces: Forces, noise: Noise) -> Motion:  # noqa: ARG002
        """Return where the replicas are one step later."""
        return _verlet(motion, system, forces, self.timestep)


@dataclass(frozen=True)
class Langevin(_WithoutVariables):
    """Langevin dynamics by the BAOAB splitting: Leimkuhler, Matthews, J. Chem. Phys. 138, 174102.

    Every atom has its friction and its random force, so the temperature of every motion is right,
    those of the molecule as a whole included; averages over positions are nearly free of errors of
    the time step. The molecule drifts and turns.

    Attributes
    ----------
    timestep
        fs.
    temperature
        K.
    friction
        1/fs.
    """

    timestep: float
    temperature: float
    friction: float = FRICTION
    keeps_momentum: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _require_positive(
            timestep=self.timestep, temperature=self.temperature, friction=self.friction
        )

    def step(self, motion: Motion, system: System, forces: Forces, noise: Noise) -> Motion:
        """Return where the replicas are one step later."""
        kicks = 0.5 * self.timestep / system.inertia
        half = 0.5 * self.timestep
        decay = math.exp(-self.friction * self.timestep)
        spread = math.sqrt((1.0 - decay * decay) * BOLTZMANN * self.temperature)
        velocities = motion.velocities + kicks * motion.forces
        positions = motion.positions + half * velocities
        before = system.kinetic(velocities)
        velocities = decay * velocities + spread / np.sqrt(system.inertia) * noise.normal(
            system.n_atoms, 3
        )
        heat = motion.heat + (system.kinetic(velocities) - before)
        positions = positions + half * velocities
        potential, found = forces(positions)
        velocities = velocities + kicks * found
        return Motion(positions, velocities, found, potential, heat, motion.thermostat)


@dataclass(frozen=True)
class VelocityRescaling(_WithoutVariables):
    """Stochastic velocity rescaling: Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007).

    All velocities are scaled by one random factor, so that the kinetic energy follows its canonical
    distribution; motions are disturbed little, and momenta stay zero.

    Attributes
    ----------
    timestep
        fs.
    temperature
        K.
    time_constant
        fs, of the coupling.
    """

    timestep: float
    temperature: float
    time_constant: float = TIME_CONSTANT
    keeps_momentum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_positive(
            timestep=self.timestep,
            temperature=self.temperature,
            time_constant=self.time_constant,
        )

    def step(self, motion: Motion, system: System, forces: Forces, noise: Noise) -> Motion:
        """Return where the replicas are one step later."""
        moved = _verlet(motion, system, forces, self.timestep)
        kinetic = system.kinetic(moved.velocities)
        factors = self._factors(kinetic, system.degrees_of_freedom, noise)
        return Motion(
            moved.positions,
            factors[:, None, None] * moved.velocities,
            moved.forces,
            moved.potential,
            moved.heat + (factors * factors - 1.0) * kinetic,
            moved.thermostat,
        )

    def _factors(self, kinetic: FloatArray, degrees: int, noise: Noise) -> FloatArray:
        """Return the factor on the velocities of each replica, with its sign: eqs. A7 and A8."""
        decay = math.exp(-self.timestep / self.time_constant)
        share = (1.0 - decay) * 0.5 * BOLTZMANN * self.temperature / kinetic
        first = noise.normal()
        others = noise.chi_square(degrees - 1) if degrees > 1 else np.zeros_like(first)
        squares = decay + share * (first * first + others)
        squares += 2.0 * first * np.sqrt(decay * share)
        signs = np.where(first + np.sqrt(decay / share) < 0.0, -1.0, 1.0)
        factors: FloatArray = signs * np.sqrt(np.maximum(squares, 0.0))
        return factors


@dataclass(frozen=True)
class NoseHooverChain:
    """Nosé-Hoover chain: Martyna, Tuckerman, Tobias, Klein, Mol. Phys. 87, 1117 (1996).

    Deterministic; small or stiff molecules may not visit everything that they should, where the
    stochastic thermostats do. Momenta stay zero.

    Attributes
    ----------
    timestep
        fs.
    temperature
        K.
    time_constant
        fs: the masses of the chain are ``k T τ²``, the first times the number of motions.
    length
        Links of the chain.
    """

    timestep: float
    temperature: float
    time_constant: float = TIME_CONSTANT
    length: int = 3
    keeps_momentum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_positive(
            timestep=self.timestep,
            temperature=self.temperature,
            time_constant=self.time_constant,
        )
        if self.length < 1:
            raise OptionError(f"Expected a chain of at least 1 link, got {self.length}.")

    def start(self, n_replicas: int, system: System, noise: Noise) -> FloatArray:  # noqa: ARG002
        """Return the velocities of the links ``(R, K)`` in 1/fs, drawn at the temperature."""
        widths = np.sqrt(BOLTZMANN * self.temperature / self._masses(system))
        velocities: FloatArray = widths * noise.normal(self.length)
        return velocities

    def step(self, motion: Motion, system: System, forces: Forces, noise: Noise) -> Motion:  # noqa: ARG002
        """Return where the replicas are one step later."""
        moved = _verlet(self._coupled(motion, system), system, forces, self.timestep)
        return self._coupled(moved, system)

    def _masses(self, system: System) -> FloatArray:
        """Return the masses of the links ``(K,)`` in eV fs²."""
        masses = np.full(self.length, BOLTZMANN * self.temperature * self.time_constant**2)
        masses[0] *= system.degrees_of_freedom
        return masses

    def _coupled(self, motion: Motion, system: System) -> Motion:
        """Let chain and molecule exchange heat for half a step."""
        step, last = self.timestep, self.length - 1
        masses, target = self._masses(system), BOLTZMANN * self.temperature
        links = motion.thermostat.copy()
        kinetic = system.kinetic(motion.velocities)

        def push(link: int, twice_kinetic: FloatArray) -> None:
            """Accelerate a link by the one before (the molecule for the first)."""
            if link == 0:
                excess = twice_kinetic - system.degrees_of_freedom * target
            else:
                excess = masses[link - 1] * links[:, link - 1] ** 2 - target
            drag = np.exp(-0.125 * step * links[:, link + 1]) if link < last else 1.0
            links[:, link] = drag * (drag * links[:, link] + 0.25 * step * excess / masses[link])

        for link in range(last, -1, -1):
            push(link, 2.0 * kinetic)
        factors = np.exp(-0.5 * step * links[:, 0])
        scaled = factors * factors * kinetic
        for link in range(last + 1):
            push(link, 2.0 * scaled)
        return Motion(
            motion.positions,
            factors[:, None, None] * motion.velocities,
            motion.forces,
            motion.potential,
            motion.heat + (scaled - kinetic),
            links,
        )


def _verlet(motion: Motion, system: System, forces: Forces, timestep: float) -> Motion:
    """Return where the replicas are after a step at constant energy."""
    kicks = 0.5 * timestep / system.inertia
    velocities = motion.velocities + kicks * motion.forces
    positions = motion.positions + timestep * velocities
    potential, found = forces(positions)
    velocities = velocities + kicks * found
    return Motion(positions, velocities, found, potential, motion.heat, motion.thermostat)


def _require_positive(**options: float) -> None:
    units = {"timestep": "fs", "temperature": "K", "friction": "1/fs", "time_constant": "fs"}
    for name, value in options.items():
        if not (np.isfinite(value) and value > 0.0):
            raise OptionError(f"Expected a positive {name} in {units[name]}, got {value}.")
