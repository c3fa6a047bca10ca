"""Flags that ``kraft md`` and ``kraft pimd`` share.

Annotations are evaluated here, since those of classes that inherit are looked up in their modules.
"""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from kraft.cli.options import Flag
from kraft.cli.solver_flags import parse_time
from kraft.core.errors import OptionError
from kraft.simulation.watching import MAX_NOVELTY, Action

DYNAMICS_GROUP = Group("Dynamics", sort_key=30)
STEERING_GROUP = Group("Steering", sort_key=33)
WATCH_GROUP = Group("Watching the simulation", sort_key=35)
RUN_GROUP = Group("Long runs", sort_key=40)


@Parameter(name="*", group=DYNAMICS_GROUP)
@dataclass(frozen=True)
class DynamicsOptions:
    """How a molecule moves."""

    temperature: Annotated[
        float, Parameter(help="K; at constant energy that of the velocities at the start.")
    ] = 300.0
    timestep: Annotated[float, Parameter(help="fs.")] = 0.5
    frame_interval: Annotated[int, Parameter(help="Steps between frames.")] = 20
    seed: Annotated[int, Parameter(help="Of velocities and thermostat.")] = 0


@Parameter(name="*", group=WATCH_GROUP)
@dataclass(frozen=True)
class WatchOptions:
    """What is an alarm, and what it does."""

    on_extrapolation: Annotated[
        Action,
        Parameter(
            help="On a broken bond, atoms too near, too high a novelty or uncertainty, or (kraft "
            "md) a runaway temperature: stop, warn once, or ignore it."
        ),
    ] = "stop"
    max_novelty: Annotated[
        float, Parameter(help="Distance from the training geometries, about 1 near them.")
    ] = MAX_NOVELTY
    max_force_std: Annotated[
        float | None,
        Parameter(
            help="Largest standard deviation of a force in eV/Å; costs more than the forces."
        ),
    ] = None

    def check(self) -> None:
        """Raise OptionError when a limit is out of its range."""
        require_limit("--max-novelty", self.max_novelty)
        require_limit("--max-force-std", self.max_force_std)


@Parameter(name="*", group=RUN_GROUP)
@dataclass(frozen=True)
class LongRunOptions:
    """Time limit and resuming."""

    max_time: Annotated[
        str | None,
        Parameter(help="Stop after 90 (seconds), 30m, 1h30m …, so that --resume can go on."),
    ] = None
    resume: Annotated[
        bool, Flag, Parameter(help="Go on with a simulation; --steps may be larger than before.")
    ] = False

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds, or None."""
        return None if self.max_time is None else parse_time(self.max_time)


def require_limit(flag: str, limit: float | None) -> None:
    """Raise OptionError unless a limit is positive, or there is none."""
    if limit is not None and not limit > 0.0:
        raise OptionError(f"Expected a positive {flag}, got {limit}.")


def already_done(done: int, steps: int) -> str:
    """Return what to tell when a simulation that is resumed needs no step any more."""
    if done > steps:
        return (
            f"The simulation has done {done} steps already, more than --steps {steps}: nothing was "
            "computed, and no step is taken back. Frames of the first steps can be chosen in kraft "
            "analyze with --stop."
        )
    return f"The simulation has done its {done} steps already: give more --steps to go on."
