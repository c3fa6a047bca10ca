"""Replicas of a molecule that are moved together: the loop's inner part, and its whole state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.models import ForceField
from kraft.simulation.integrators import Integrator, VelocityVerlet
from kraft.simulation.motion import Forces, ModelForces, Motion
from kraft.simulation.noise import Noise
from kraft.simulation.steering import SteeredForces, Steering
from kraft.simulation.system import System, require_finite


@dataclass(frozen=True, eq=False)
class State:
    """Everything that decides how a simulation goes on.

    Attributes
    ----------
    step
        Steps done.
    replicas
        Numbers of the replicas that still move, from 0.
    motion
        Where they are, in this order.
    random
        State of each one's random numbers, in JSON's types.
    """

    step: int
    replicas: tuple[int, ...]
    motion: Motion
    random: tuple[Mapping[str, Any], ...]


class Replicas:
    """Replicas that are moved together, by one evaluation of all their forces a step.

    Each has random numbers of its own, so it moves as it would alone (up to rounding, where the
    forces of a batch are rounded in another way).

    Parameters
    ----------
    system
        The molecule.
    integrator
        How it is moved.
    forces
        Its forces.
    state
        Where to go on.

    Attributes
    ----------
    step
        Steps done.
    replicas
        Numbers of the replicas that still move.
    motion
        Where they are.
    """

    def __init__(
        self, system: System, integrator: Integrator, forces: Forces, state: State
    ) -> None:
        self.system, self.integrator, self.forces = system, integrator, forces
        self.step, self.replicas, self.motion = state.step, state.replicas, state.motion
        self._noise = Noise.restored(state.random)

    @classmethod
    def start(
        cls,
        system: System,
        integrator: Integrator,
        forces: Forces,
        positions: FloatArray,
        *,
        temperature: float,
        seed: int = 0,
        numbers: Sequence[int] | None = None,
    ) -> Replicas:
        """Return replicas at ``(R, N, 3)`` in Å with velocities drawn at a temperature in K.

        Their numbers, which choose their random numbers, are those given, or 0 to R - 1.

        Raises
        ------
        OptionError
            When the temperature is negative.
        GeometryError
            When positions are not finite.
        """
        if not (np.isfinite(temperature) and temperature >= 0.0):
            raise OptionError(f"Expected a temperature in K that is not negative: {temperature}.")
        require_finite(positions)
        replicas = tuple(range(len(positions)) if numbers is None else numbers)
        noise = Noise.seeded(seed, replicas)
        velocities = system.draw_velocities(
            positions,
            temperature,
            noise,
            keeps_momentum=integrator.keeps_momentum,
            exact=isinstance(integrator, VelocityVerlet),
        )
        potential, found = forces(positions)
        motion = Motion(
            positions,
            velocities,
            found,
            potential,
            np.zeros(len(positions)),
            integrator.start(len(positions), system, noise),
        )
        return cls(system, integrator, forces, State(0, replicas, motion, noise.states))

    @classmethod
    def of_model(
        cls,
        force_field: ForceField,
        integrator: Integrator,
        positions: FloatArray,
        *,
        temperature: float,
        seed: int = 0,
        state: State | None = None,
        steering: Steering | None = None,
    ) -> Replicas:
        """Return replicas of the molecule of a model, new ones as by :meth:`start`.

        With a state they go on from there; ``positions`` are where they started. An external force
        and its potential are added to those of the model.
        """
        system = System.of(
            force_field.atomic_numbers,
            positions,
            keeps_momentum=integrator.keeps_momentum,
            cell=force_field.parameters.cell,
            turned=steering is not None and steering.turns,
        )
        forces: Forces = ModelForces(force_field)
        if steering is not None:
            steering.require_atoms(system.n_atoms)
            forces = SteeredForces(forces, steering)
        if state is not None:
            return cls(system, integrator, forces, state)
        return cls.start(system, integrator, forces, positions, temperature=temperature, seed=seed)

    def __len__(self) -> int:
        return len(self.replicas)

    @property
    def time(self) -> float:
        """Simulated time in ps."""
        return 1e-3 * self.step * self.integrator.timestep

    @property
    def finite(self) -> bool:
        """Whether all forces are finite."""
        return bool(np.isfinite(self.motion.forces.sum()))

    @property
    def state(self) -> State:
        """Everything that decides how it goes on."""
        return State(self.step, self.replicas, self.motion, self._noise.states)

    def advance(self) -> None:
        """Take one step with all replicas that still move."""
        self.motion = self.integrator.step(self.motion, self.system, self.forces, self._noise)
        self.step += 1

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the present replicas only."""
        self.replicas = tuple(self.replicas[row] for row in rows)
        self.motion = self.motion.rows(rows)
        self._noise = self._noise.rows(rows)
