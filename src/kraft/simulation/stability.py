"""Whether dynamics with a force field stays sound: a low test error does not tell.

A model may predict test frames well and yet let atoms run into each other or bonds break in a long
simulation, since test frames are where the training frames are (paper 003: a descriptor reduced to
40 % had lower errors than the full one, and steric clashes in dynamics). The check runs many
independent replicas at once and tells how long each stayed sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaincinv

from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray
from kraft.models import ForceField
from kraft.simulation.guards import (
    Alarm,
    DistanceGuard,
    Guard,
    NoveltyGuard,
    Reason,
    TemperatureGuard,
    alarms,
    visited_distances,
)
from kraft.simulation.integrators import FRICTION, Langevin
from kraft.simulation.replicas import Replicas
from kraft.simulation.starts import start_geometries

CHECK_INTERVAL = 10
"""Steps between looks at distances, temperatures and novelty."""

_CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Failure:
    """How one replica went wrong.

    Attributes
    ----------
    replica
        Its number, from 0.
    time
        ps, when it was found.
    reason
        What kind of failure.
    message
        What exactly, with numbers and limits.
    last_good
        ``(N, 3)`` in Å: its last geometry without an alarm.
    """

    replica: int
    time: float
    reason: Reason
    message: str
    last_good: FloatArray


@dataclass(frozen=True, eq=False)
class Stability:
    """What a check of the stability found.

    Attributes
    ----------
    temperature
        K.
    duration
        ps that each replica should run.
    timestep
        fs.
    times
        ``(R,)`` ps that each replica was sound.
    failures
        Of the replicas that were not sound to the end, in the order of time.
    mean_temperatures
        ``(R,)`` in K, over the looks at each replica.
    largest_novelty
        ``(R,)`` largest novelty that each replica had while it was sound; NaN where it was never
        looked at.
    """

    temperature: float
    duration: float
    timestep: float
    times: FloatArray
    failures: tuple[Failure, ...]
    mean_temperatures: FloatArray
    largest_novelty: FloatArray

    @property
    def stable(self) -> bool:
        """Whether all replicas were sound to the end."""
        return not self.failures

    @property
    def total_time(self) -> float:
        """Sound simulated time of all replicas together in ps."""
        return float(self.times.sum())

    @property
    def failure_rate(self) -> float:
        """Failures per ns of simulated time."""
        return len(self.failures) / (1e-3 * self.total_time) if self.total_time else np.inf

    @property
    def failure_rate_bound(self) -> float:
        """Upper end of the rate in failures per ns, with a confidence of 95 % (Poisson)."""
        expected = float(gammaincinv(len(self.failures) + 1, _CONFIDENCE))
        return expected / (1e-3 * self.total_time) if self.total_time else np.inf

    @property
    def summary(self) -> str:
        """One or two sentences on the result."""
        n = len(self.times)
        run = f"{n} replicas of {self.duration:g} ps at {self.temperature:g} K"
        if self.stable:
            bound = self.failure_rate_bound
            shown = f"{bound:.0f}" if bound >= 100.0 else f"{bound:.3g}"
            return (
                f"Stable in {run}: fewer than {shown} failures per ns, with a confidence of 95 %."
            )
        first = self.failures[0]
        return (
            f"Not stable: {len(self.failures)} of {run} failed, replica {first.replica} first "
            f"after {first.time:.3g} ps ({first.reason}). {first.message}"
        )


def check_stability(
    force_field: ForceField,
    starts: ArrayLike | None = None,
    *,
    temperature: float = 300.0,
    duration: float = 5.0,
    timestep: float = 0.5,
    n_replicas: int = 8,
    friction: float = FRICTION,
    check_interval: int = CHECK_INTERVAL,
    max_novelty: float | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Stability:
    """Run dynamics with a force field and tell whether it stays sound.

    Replicas move by Langevin dynamics (BAOAB), all of them with one batched prediction a step. A
    replica fails, and is left out from then on, when a force is not finite, a bond of the start
    geometries breaks, atoms come too near, or the temperature runs away; the limits are those of
    :mod:`kraft.simulation.guards`. What the training geometries contain is no failure.

    Parameters
    ----------
    force_field
        The model.
    starts
        ``(N, 3)`` or ``(S, N, 3)`` in Å, in the model's order of atoms; replica ``r`` starts from
        number ``r mod S``. By default training geometries, spread over the set.
    temperature
        K: that of the training data is a fair test.
    duration
        ps of each replica.
    timestep
        fs.
    n_replicas
        Number of replicas.
    friction
        1/fs, of the thermostat.
    check_interval
        Steps between looks at distances, temperature and novelty; forces that are not finite are
        found at once.
    max_novelty
        A higher :meth:`kraft.ForceField.novelty` is a failure, too; None only records it.
    seed
        Of velocities and thermostat.
    progress
        Told about steps.

    Returns
    -------
    Stability
        Result, reasons, time to failure of each replica.

    Raises
    ------
    OptionError
        When an option is out of its range, or there are no starts.
    GeometryError
        When starts do not fit the model or are unsound themselves.
    """
    n_steps = _n_steps(duration, timestep, n_replicas, check_interval)
    positions = start_geometries(force_field, starts, n_replicas)
    cell, numbers = force_field.parameters.cell, force_field.atomic_numbers
    guards: list[Guard] = [
        DistanceGuard.of(numbers, positions, cell=cell, visited=visited_distances(force_field)),
        TemperatureGuard(temperature),
    ]
    if max_novelty is not None:
        guards.append(NoveltyGuard(force_field, max_novelty))
    replicas = Replicas.of_model(
        force_field,
        Langevin(timestep, temperature, friction),
        positions,
        temperature=temperature,
        seed=seed,
    )
    watch = _Watch(force_field, guards, replicas)
    while replicas.step < n_steps and len(replicas):
        replicas.advance()
        if replicas.step % check_interval == 0 or replicas.step == n_steps or not replicas.finite:
            watch.look()
            progress("dynamics", replicas.step, n_steps)
    return watch.result(temperature, duration)


class _Watch:
    """Looks at replicas now and then, leaves out those that fail, and remembers."""

    def __init__(self, force_field: ForceField, guards: list[Guard], replicas: Replicas) -> None:
        self._force_field, self._guards, self._replicas = force_field, guards, replicas
        n = len(replicas)
        self._failures: list[Failure] = []
        self._good = replicas.motion.positions
        self._times = np.zeros(n)
        self._sums = np.zeros(n)
        self._looks = np.zeros(n)
        self._novelty = np.full(n, np.nan)

    def look(self) -> None:
        """Judge the replicas as they are now."""
        replicas = self._replicas
        found = alarms(self._guards, replicas.motion, replicas.system)
        for alarm in found:
            self._fail(alarm)
        if found:
            failed = {alarm.row for alarm in found}
            sound = [row for row in range(len(replicas)) if row not in failed]
            replicas.keep(sound)
        self._good = replicas.motion.positions
        if len(replicas):
            self._remember(list(replicas.replicas))

    def _fail(self, alarm: Alarm) -> None:
        replicas = self._replicas
        self._failures.append(
            Failure(
                replicas.replicas[alarm.row],
                replicas.time,
                alarm.reason,
                alarm.message,
                self._good[alarm.row].copy(),
            )
        )

    def _remember(self, numbers: list[int]) -> None:
        motion = self._replicas.motion
        self._times[numbers] = self._replicas.time
        self._sums[numbers] += self._replicas.system.temperatures(motion.velocities)
        self._looks[numbers] += 1
        novelty = self._force_field.novelty(motion.positions)
        self._novelty[numbers] = np.fmax(self._novelty[numbers], novelty)

    def result(self, temperature: float, duration: float) -> Stability:
        """Return what was found."""
        means = np.full(len(self._looks), np.nan)
        np.divide(self._sums, self._looks, out=means, where=self._looks > 0)
        return Stability(
            temperature=temperature,
            duration=duration,
            timestep=self._replicas.integrator.timestep,
            times=self._times,
            failures=tuple(self._failures),
            mean_temperatures=means,
            largest_novelty=self._novelty,
        )


def _n_steps(duration: float, timestep: float, n_replicas: int, check_interval: int) -> int:
    for name, value, unit in (("duration", duration, "ps"), ("timestep", timestep, "fs")):
        if not (np.isfinite(value) and value > 0.0):
            raise OptionError(f"Expected a positive {name} in {unit}, got {value}.")
    for name, number in (("n_replicas", n_replicas), ("check_interval", check_interval)):
        if number < 1:
            raise OptionError(f"Expected {name} of at least 1, got {number}.")
    n_steps = round(1e3 * duration / timestep)
    if n_steps < 1:
        raise OptionError(
            f"Expected a duration of at least one time step ({timestep} fs), got {duration} ps."
        )
    return n_steps
