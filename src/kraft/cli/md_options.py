"""Flags of ``kraft md``: integrators and thermostats, steering, what is watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from kraft.cli.simulation_options import (
    DYNAMICS_GROUP,
    RUN_GROUP,
    STEERING_GROUP,
    WATCH_GROUP,
    DynamicsOptions,
    LongRunOptions,
    WatchOptions,
)
from kraft.cli.solver_flags import parse_time
from kraft.core.errors import OptionError
from kraft.simulation.integrators import (
    FRICTION,
    TIME_CONSTANT,
    Integrator,
    Langevin,
    NoseHooverChain,
    VelocityRescaling,
    VelocityVerlet,
)
from kraft.simulation.steering import Direction, Steering
from kraft.simulation.watching import Watching


@Parameter(name="*", group=DYNAMICS_GROUP)
@dataclass(frozen=True)
class MdDynamicsOptions(DynamicsOptions):
    """How the molecule moves."""

    ensemble: Annotated[
        Literal["nvt", "nve"], Parameter(help="With a thermostat, or at constant energy.")
    ] = "nvt"
    thermostat: Annotated[
        Literal["langevin", "rescaling", "nose-hoover"],
        Parameter(help="Of nvt: Langevin (BAOAB), stochastic velocity rescaling, chain of three."),
    ] = "langevin"
    friction: Annotated[
        float | None, Parameter(help=f"1/fs, of the Langevin thermostat; {FRICTION:g}.")
    ] = None
    time_constant: Annotated[
        float | None, Parameter(help=f"fs, of the other thermostats; {TIME_CONSTANT:g}.")
    ] = None
    replicas: Annotated[
        int, Parameter(help="Simulations with different random numbers, predicted together.")
    ] = 1

    def integrator(self) -> Integrator:
        """Return what moves the molecule.

        Raises
        ------
        OptionError
            When options do not fit together or are out of range.
        """
        langevin = self.ensemble == "nvt" and self.thermostat == "langevin"
        coupled = self.ensemble == "nvt" and not langevin
        if self.friction is not None and not langevin:
            raise OptionError("--friction is for --ensemble nvt --thermostat langevin only.")
        if self.time_constant is not None and not coupled:
            raise OptionError(
                "--time-constant is for --ensemble nvt with --thermostat rescaling or nose-hoover."
            )
        if self.ensemble == "nve":
            return VelocityVerlet(self.timestep)
        if langevin:
            friction = FRICTION if self.friction is None else self.friction
            return Langevin(self.timestep, self.temperature, friction)
        constant = TIME_CONSTANT if self.time_constant is None else self.time_constant
        if self.thermostat == "rescaling":
            return VelocityRescaling(self.timestep, self.temperature, constant)
        return NoseHooverChain(self.timestep, self.temperature, constant)

    def description(self) -> str:
        """Return it in words."""
        if self.ensemble == "nve":
            return f"constant energy, steps of {self.timestep:g} fs"
        return f"{self.thermostat} at {self.temperature:g} K, steps of {self.timestep:g} fs"


@Parameter(name="*", group=STEERING_GROUP)
@dataclass(frozen=True)
class SteeringOptions:
    """An external force."""

    pull: Annotated[
        tuple[int, int] | None,
        Parameter(
            help="Two atoms, numbered from 0, that forces of opposite directions act on.",
            negative="",
        ),
    ] = None
    pull_force: Annotated[
        float | None,
        Parameter(help="pN, on each of them: apart where positive, together where negative."),
    ] = None
    pull_direction: Annotated[
        Direction | None,
        Parameter(
            help="Direction x y z, fixed in space, of a positive force on the second atom; by "
            "default along the line from the first to the second as they move.",
            negative="",
        ),
    ] = None

    def steering(self) -> Steering | None:
        """Return the external force, or None.

        Raises
        ------
        OptionError
            When a part of it is missing.
        """
        if self.pull is None:
            if self.pull_force is not None or self.pull_direction is not None:
                raise OptionError(
                    "Expected the two atoms that the force acts on: --pull 0 5, for example."
                )
            return None
        if self.pull_force is None:
            raise OptionError("Expected the size of the force in pN: --pull-force 10, for example.")
        return Steering(*self.pull, self.pull_force, self.pull_direction)


@Parameter(name="*", group=WATCH_GROUP)
@dataclass(frozen=True)
class MdWatchOptions(WatchOptions):
    """What is an alarm, and what it does."""

    check_interval: Annotated[int, Parameter(help="Steps between looks.")] = Watching.interval

    def watching(self) -> Watching:
        """Return what is watched."""
        self.check()
        return Watching(
            self.on_extrapolation, self.check_interval, self.max_novelty, self.max_force_std
        )


@Parameter(name="*", group=RUN_GROUP)
@dataclass(frozen=True)
class MdRunOptions(LongRunOptions):
    """Time limit, saved states, resuming."""

    checkpoint_interval: Annotated[str, Parameter(help="Time between saved states.")] = "60s"

    @property
    def between_states(self) -> float:
        """Seconds between saved states."""
        return parse_time(self.checkpoint_interval)
