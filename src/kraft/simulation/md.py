"""Molecular dynamics of one or many replicas, with files, guards and exact restarts.

All replicas are moved by one batched prediction a step. States are saved right after the guards
have looked, with the sizes of the output files, so that a run that was interrupted or killed and
then resumed leaves the same files as one that was not (on one machine with one number of threads).
"""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from kraft.core.errors import OptionError, UnfinishedError
from kraft.core.progress import Progress, silent
from kraft.models import ForceField
from kraft.models.kinds import fingerprint
from kraft.simulation.guards import Alarm, Guard, alarms
from kraft.simulation.integrators import Integrator, VelocityVerlet
from kraft.simulation.nve import NONCONSERVATIVE
from kraft.simulation.recording import Log, OutputFiles, Recorder
from kraft.simulation.replicas import Replicas
from kraft.simulation.restart import Event, Restart, read_restart, write_restart
from kraft.simulation.starts import start_geometries
from kraft.simulation.steering import Steering
from kraft.simulation.watching import Watching, signals

_REPORT_INTERVAL = 0.2


@dataclass(frozen=True, eq=False)
class MdRun:
    """What a simulation did.

    Attributes
    ----------
    files
        What it wrote.
    n_steps
        Steps done in all, before an interruption included.
    n_replicas
        Replicas that were simulated.
    events
        Alarms, the first of each kind for each replica.
    timestep
        fs.
    n_atoms
        Atoms in a molecule.
    seconds, replica_steps
        Time that this call took for its steps, and steps times replicas.
    """

    files: OutputFiles
    n_steps: int
    n_replicas: int
    events: tuple[Event, ...]
    timestep: float
    n_atoms: int
    seconds: float
    replica_steps: int

    @property
    def log(self) -> Log:
        """The table of energies and temperatures."""
        return Log.read(self.files.log)

    @property
    def n_stopped(self) -> int:
        """How many replicas were stopped by an alarm."""
        return sum(event.stopped for event in self.events)

    @property
    def ns_per_day(self) -> float:
        """Simulated time of all replicas together that a day would give."""
        if self.replica_steps == 0:
            return float("nan")
        return 1e-6 * self.timestep * self.replica_steps * 86400.0 / self.seconds


def run_md(
    force_field: ForceField,
    starts: ArrayLike,
    output: str | os.PathLike[str],
    *,
    integrator: Integrator,
    n_steps: int,
    temperature: float = 300.0,
    n_replicas: int = 1,
    frame_interval: int = 20,
    steering: Steering | None = None,
    watching: Watching = Watching(),  # noqa: B008
    seed: int = 0,
    resume: bool = False,
    checkpoint_interval: float = 60.0,
    max_time: float | None = None,
    allow_nonconservative: bool = False,
    progress: Progress = silent,
    stop_requested: Callable[[], bool] = lambda: False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> MdRun:
    """Simulate replicas of a molecule and write their trajectories.

    Parameters
    ----------
    force_field
        The model.
    starts
        ``(N, 3)`` or ``(S, N, 3)`` in Å; replica ``r`` starts from number ``r mod S``.
    output
        Extended XYZ to write (``run.xyz``; ``run-0.xyz`` and so on for several replicas), with
        positions in Å and momenta in ASE's units. Beside it stand a table of energies
        (``run.csv``), geometries with alarms (``run.alarms.xyz``) and the state
        (``run.restart.safetensors``). Files that are there are replaced.
    integrator
        One of :mod:`kraft.simulation.integrators`.
    n_steps
        Steps in all; to make a finished run longer, resume it with more.
    temperature
        K, of the velocities at the start and of the guard.
    n_replicas
        Replicas to simulate.
    frame_interval
        Steps between frames.
    steering
        An external force on two atoms.
    watching
        What is watched, and what an alarm does.
    seed
        Of velocities and thermostat.
    resume
        Go on from the state, if there is one.
    checkpoint_interval
        Seconds between saved states.
    max_time
        Seconds after which to stop, so that the run can be resumed.
    allow_nonconservative
        Do not warn when the forces are not the gradient of the energy.
    progress
        Told about steps.
    stop_requested
        Asked now and then; the run stops cleanly when it says True.
    on_event
        Told about alarms when they occur.

    Returns
    -------
    MdRun
        What was done.

    Raises
    ------
    OptionError
        When an option is out of its range, or the state is that of another run.
    GeometryError
        When starts do not fit the model or are unsound themselves.
    UnfinishedError
        When it was stopped; the state is saved.

    Warns
    -----
    UserWarning
        When energy is to be conserved, but the forces are not the gradient of the energy.
    """
    counts = {"n_steps": n_steps, "n_replicas": n_replicas, "frame_interval": frame_interval}
    for name, number in counts.items():
        _require_count(name, number)
    drifts = isinstance(integrator, VelocityVerlet) and not force_field.conservative
    if drifts and not allow_nonconservative:
        warnings.warn(NONCONSERVATIVE, stacklevel=2)
    positions = start_geometries(force_field, starts, n_replicas)
    identity = {
        "model": fingerprint(force_field.parameters),
        "start geometries": hashlib.sha256(positions.tobytes()).hexdigest()[:16],
        "precision": force_field.dtype,
        "dynamics": repr(integrator),
        "temperature": temperature,
        "number of replicas": n_replicas,
        "frame interval": frame_interval,
        "interval between looks": watching.interval,
        "seed": seed,
        "external force": None if steering is None else str(steering),
    }
    hottest = max(temperature, getattr(integrator, "temperature", 0.0))
    guards = watching.guards(force_field, positions, hottest)
    files = OutputFiles.of(output, n_replicas)
    saved = read_restart(files.restart) if resume and files.restart.exists() else None
    replicas = Replicas.of_model(
        force_field,
        integrator,
        positions,
        temperature=temperature,
        seed=seed,
        state=None if saved is None else saved.state,
        steering=steering,
    )
    recorder = Recorder(files, replicas.system, steering, signals(guards))
    if saved is None:
        files.restart.unlink(missing_ok=True)
        recorder.begin()
        recorder.record(replicas)
    else:
        saved.check_identity(identity, files.restart)
        recorder.go_on(saved.sizes)
    events = [] if saved is None else list(saved.events)
    run = _Run(replicas, recorder, files, identity, guards, watching, events, on_event)
    limits = _Limits(checkpoint_interval, max_time, stop_requested)
    seconds, replica_steps = run.go(n_steps, frame_interval, limits, progress)
    return MdRun(
        files=files,
        n_steps=replicas.step,
        n_replicas=n_replicas,
        events=tuple(run.events),
        timestep=integrator.timestep,
        n_atoms=len(force_field.atomic_numbers),
        seconds=seconds,
        replica_steps=replica_steps,
    )


@dataclass(frozen=True)
class _Limits:
    """When to save and when to stop."""

    checkpoint_interval: float
    max_time: float | None
    stop_requested: Callable[[], bool]

    def reached(self, seconds: float) -> Literal["interrupted", "max_time"] | None:
        if self.stop_requested():
            return "interrupted"
        if self.max_time is not None and seconds >= self.max_time:
            return "max_time"
        return None


class _Run:
    """The loop over steps."""

    def __init__(
        self,
        replicas: Replicas,
        recorder: Recorder,
        files: OutputFiles,
        identity: dict[str, Any],
        guards: list[Guard],
        watching: Watching,
        events: list[Event],
        on_event: Callable[[Event], None],
    ) -> None:
        self.events = events
        self._replicas, self._recorder, self._files = replicas, recorder, files
        self._identity, self._guards, self._watching = identity, guards, watching
        self._on_event = on_event
        self._good = replicas.motion.positions

    def go(
        self, n_steps: int, frame_interval: int, limits: _Limits, progress: Progress
    ) -> tuple[float, int]:
        """Run until ``n_steps`` are done; return seconds and steps times replicas."""
        replicas, interval = self._replicas, self._watching.interval
        started = saved = reported = time.perf_counter()
        replica_steps = 0
        while replicas.step < n_steps and len(replicas):
            replica_steps += len(replicas)
            replicas.advance()
            due = replicas.step % interval == 0
            if due or not replicas.finite:
                self._look()
            if replicas.step % frame_interval == 0 and len(replicas):
                self._recorder.record(replicas)
            if not due:
                continue
            now = time.perf_counter()
            if now - reported > _REPORT_INTERVAL:
                progress("dynamics", replicas.step, n_steps)
                reported = now
            if now - saved > limits.checkpoint_interval:
                self._save()
                saved = now
            reason = limits.reached(now - started)
            if reason is not None and replicas.step < n_steps:
                self._save()
                raise self._unfinished(reason)
        self._save()
        return time.perf_counter() - started, replica_steps

    def _look(self) -> None:
        """Let the guards judge the replicas as they are; leave out those that are stopped."""
        replicas = self._replicas
        stopped = set()
        for alarm in alarms(self._guards, replicas.motion, replicas.system):
            number = replicas.replicas[alarm.row]
            stop = self._watching.action == "stop" or alarm.reason == "not finite"
            known = any((e.replica, e.reason) == (number, alarm.reason) for e in self.events)
            if stop:
                stopped.add(alarm.row)
            if stop or not known:
                self._tell(alarm.row, number, stop, alarm)
        if stopped:
            replicas.keep([row for row in range(len(replicas)) if row not in stopped])
        self._good = replicas.motion.positions

    def _tell(self, row: int, number: int, stop: bool, alarm: Alarm) -> None:
        replicas = self._replicas
        event = Event(number, replicas.step, replicas.time, alarm.reason, alarm.message, stop)
        self.events.append(event)
        for positions, sound in (
            (self._good[row], True),
            (replicas.motion.positions[row], False),
        ):
            self._recorder.alarm(
                positions, replica=number, step=replicas.step, reason=alarm.reason, sound=sound
            )
        self._on_event(event)

    def _save(self) -> None:
        state, sizes = self._replicas.state, self._files.sizes()
        write_restart(
            Restart(self._identity, state, sizes, tuple(self.events)), self._files.restart
        )

    def _unfinished(self, reason: Literal["interrupted", "max_time"]) -> UnfinishedError:
        cause = "The time limit was reached" if reason == "max_time" else "Stopped as asked"
        return UnfinishedError(
            f"{cause} after {self._replicas.step} steps. The state is in {self._files.restart}: go "
            "on with the same command and --resume.",
            reason,
        )


def _require_count(name: str, number: int) -> None:
    if number < 1:
        raise OptionError(f"Expected {name} of at least 1, got {number}.")
