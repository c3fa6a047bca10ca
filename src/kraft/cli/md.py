"""``kraft md``: molecular dynamics with a model, one molecule or many replicas of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from kraft.cli.console import out
from kraft.cli.geometry_match import check_match
from kraft.cli.interruption import StopSwitch, resumable
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.progress import Display, progress_bars
from kraft.cli.results import model_figures
from kraft.cli.solver_flags import parse_time
from kraft.cli.summary import (
    counted,
    duration,
    number,
    print_facts,
    print_next,
    print_notices,
    print_warning,
)
from kraft.core.errors import OptionError
from kraft.core.progress import Progress
from kraft.data.geometry_format import Geometries, read_geometries
from kraft.models import ForceField
from kraft.simulation.integrators import (
    FRICTION,
    TIME_CONSTANT,
    Integrator,
    Langevin,
    NoseHooverChain,
    VelocityRescaling,
    VelocityVerlet,
)
from kraft.simulation.md import MdRun, run_md
from kraft.simulation.nve import NONCONSERVATIVE
from kraft.simulation.recording import OutputFiles
from kraft.simulation.restart import Event
from kraft.simulation.watching import MAX_NOVELTY, Action, Watching

DYNAMICS_GROUP = Group("Dynamics", sort_key=30)
WATCH_GROUP = Group("Watching the simulation", sort_key=35)
RUN_GROUP = Group("Long runs", sort_key=40)


@Parameter(name="*", group=DYNAMICS_GROUP)
@dataclass(frozen=True)
class DynamicsOptions:
    """How the molecule moves."""

    ensemble: Annotated[
        Literal["nvt", "nve"], Parameter(help="With a thermostat, or at constant energy.")
    ] = "nvt"
    thermostat: Annotated[
        Literal["langevin", "rescaling", "nose-hoover"],
        Parameter(help="Of nvt: Langevin (BAOAB), stochastic velocity rescaling, chain of three."),
    ] = "langevin"
    temperature: Annotated[
        float, Parameter(help="K; of nve that of the velocities at the start.")
    ] = 300.0
    timestep: Annotated[float, Parameter(help="fs.")] = 0.5
    friction: Annotated[
        float | None, Parameter(help=f"1/fs, of the Langevin thermostat; {FRICTION:g}.")
    ] = None
    time_constant: Annotated[
        float | None, Parameter(help=f"fs, of the other thermostats; {TIME_CONSTANT:g}.")
    ] = None
    replicas: Annotated[
        int, Parameter(help="Simulations with different random numbers, predicted together.")
    ] = 1
    seed: Annotated[int, Parameter(help="Of velocities and thermostat.")] = 0

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


@Parameter(name="*", group=WATCH_GROUP)
@dataclass(frozen=True)
class WatchOptions:
    """What is an alarm, and what it does."""

    on_extrapolation: Annotated[
        Action,
        Parameter(
            help="On a broken bond, atoms too near, a runaway temperature or too high a novelty: "
            "stop the replica, warn once, or ignore it."
        ),
    ] = "stop"
    max_novelty: Annotated[
        float, Parameter(help="Distance from the training geometries, about 1 near them.")
    ] = MAX_NOVELTY
    max_force_std: Annotated[
        float | None,
        Parameter(help="Standard deviation of a force in eV/Å; costs more than the forces."),
    ] = None
    check_interval: Annotated[int, Parameter(help="Steps between looks.")] = Watching.interval

    def watching(self) -> Watching:
        """Return what is watched."""
        for flag, limit in (
            ("--max-novelty", self.max_novelty),
            ("--max-force-std", self.max_force_std),
        ):
            if limit is not None and not limit > 0.0:
                raise OptionError(f"Expected a positive {flag}, got {limit}.")
        return Watching(
            self.on_extrapolation, self.check_interval, self.max_novelty, self.max_force_std
        )


@Parameter(name="*", group=RUN_GROUP)
@dataclass(frozen=True)
class LongRunOptions:
    """Time limit, saved states, resuming."""

    max_time: Annotated[
        str | None,
        Parameter(help="Stop after 90 (seconds), 30m, 1h30m …, so that --resume can go on."),
    ] = None
    checkpoint_interval: Annotated[str, Parameter(help="Time between saved states.")] = "60s"
    resume: Annotated[
        bool, Flag, Parameter(help="Go on with a simulation; --steps may be larger than before.")
    ] = False

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds, or None."""
        return None if self.max_time is None else parse_time(self.max_time)


def md(
    model: Path,
    start: Path,
    /,
    *,
    steps: int,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    overwrite: Annotated[bool, Flag] = False,
    frame_interval: int = 20,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    json: Path | None = None,
    dynamics: DynamicsOptions = DynamicsOptions(),
    watch: WatchOptions = WatchOptions(),
    run: LongRunOptions = LongRunOptions(),
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
) -> None:
    """Simulate a molecule with a model, and write its trajectory as extended XYZ.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    start
        Geometries to start from, anything ASE reads; replica r starts from number r, and from the
        first again when there are no more.
    steps
        Time steps in all.
    output
        File to write, .xyz or .extxyz, in Å with momenta in ASE's units; several replicas have
        their number in the name. Beside it: a table of energies and temperatures (.csv), geometries
        with alarms (.alarms.xyz), the state to resume from (.restart.safetensors).
    overwrite
        Replace files that are there already.
    frame_interval
        Steps between frames.
    length_unit
        Unit of the positions where the file does not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    json
        File to write all figures to, for programs.
    """
    compute.apply()
    integrator, watching, seconds = dynamics.integrator(), watch.watching(), run.seconds
    interval = parse_time(run.checkpoint_interval)
    check_json(json)
    check_output(output, suffixes=(".xyz", ".extxyz"), overwrite=True)
    files = OutputFiles.of(output, max(1, dynamics.replicas))
    _check_files(files, overwrite=overwrite, resume=run.resume)
    force_field = load_model(model, compute.device, compute.dtype)
    frames = read_geometries(start, length_unit=length_unit)
    check_match(force_field, frames, start, any_order=any_order)
    _print_notes(force_field, frames, start, integrator, dynamics.replicas)
    _print_far_starts(force_field, frames, start, dynamics.replicas, watching)
    switch = StopSwitch()
    with progress_bars() as progress, resumable(files.restart), switch.listening():
        done = run_md(
            force_field,
            frames.positions,
            output,
            integrator=integrator,
            n_steps=steps,
            temperature=dynamics.temperature,
            n_replicas=dynamics.replicas,
            frame_interval=frame_interval,
            watching=watching,
            seed=dynamics.seed,
            resume=run.resume,
            checkpoint_interval=interval,
            max_time=seconds,
            allow_nonconservative=True,
            progress=_with_speed(progress, dynamics),
            stop_requested=lambda: switch.requested,
            on_event=_print_event,
        )
    _summarize(done, force_field, dynamics, model, json)


def _with_speed(display: Display, dynamics: DynamicsOptions) -> Progress:
    """Return a progress that also shows the simulated time per day."""
    begun: list[tuple[float, int]] = []

    def report(stage: str, done: int, total: int, /) -> None:
        display(stage, done, total)
        now = time.perf_counter()
        if not begun:
            begun.append((now, done))
            return
        started, first = begun[0]
        simulated = 1e-6 * dynamics.timestep * dynamics.replicas * (done - first)
        speed = 86400.0 * simulated / max(now - started, 1e-9)
        display.detail(f"{stage}, step {done} of {total}, {number(speed)} ns a day")

    return report


def _check_files(files: OutputFiles, *, overwrite: bool, resume: bool) -> None:
    """Raise when there is something that was not spoken of."""
    if resume:
        if not files.restart.exists():
            print_notices([f"There is no state {files.restart}: starting from the beginning."])
            resume = False
        else:
            return
    if files.restart.exists() and not overwrite:
        raise OptionError(
            f"{files.restart} is the state of a simulation. Go on with it by --resume, or start "
            "anew and lose it with --overwrite."
        )
    for path in files.growing:
        check_output(path, overwrite=overwrite)


def _print_notes(
    force_field: ForceField, frames: Geometries, start: Path, integrator: Integrator, n: int
) -> None:
    if isinstance(integrator, VelocityVerlet) and not force_field.conservative:
        print_warning(NONCONSERVATIVE.split(" For dynamics")[0])
    if not force_field.has_energies:
        print_notices(
            ["The model was trained without energies: the drift of the energy is not known."]
        )
    if len(frames) > n:
        first = "the first" if n == 1 else f"the first {n}"
        print_notices(
            [f"{start.name} has {len(frames)} geometries; the simulation starts from {first}."]
        )


def _print_far_starts(
    force_field: ForceField, frames: Geometries, start: Path, n: int, watching: Watching
) -> None:
    """Warn of starts that the model does not know, in a wrong unit for example."""
    if watching.action == "ignore" or watching.max_novelty is None or n < 1:
        return
    novelty = force_field.novelty(frames.positions[:n])
    far = int((novelty > watching.max_novelty).sum())
    if far:
        print_warning(
            f"{far} of {counted(len(novelty), 'start')} in {start.name} is unlike all training "
            f"geometries: novelty up to {novelty.max():.2f}, beyond {watching.max_novelty:g}. If "
            "positions are not in Å, give their --length-unit."
        )


def _print_event(event: Event) -> None:
    stopped = " Stopped; the last sound geometry is kept." if event.stopped else ""
    print_warning(
        f"replica {event.replica} after {1e3 * event.time:g} fs: {event.message}{stopped}"
    )


def _summarize(
    done: MdRun,
    force_field: ForceField,
    dynamics: DynamicsOptions,
    model: Path,
    json: Path | None,
) -> None:
    written = [path for path in (*done.files.growing, done.files.restart) if path.exists()]
    for path in written:
        note_written(path)
    log = done.log
    drift, temperature = log.drift(done.n_atoms), log.mean_temperature
    simulated = 1e-3 * done.n_steps * done.timestep
    rows = [
        ("dynamics", dynamics.description()),
        ("simulated", f"{number(simulated)} ps ({done.n_steps} steps) of each"),
        ("temperature", _temperature_text(temperature)),
        ("drift", _drift_text(drift, dynamics.ensemble)),
        ("alarms", _alarm_text(done)),
    ]
    if done.replica_steps:
        each = duration(done.seconds / done.replica_steps)
        rows.append(
            ("speed", f"{number(done.ns_per_day)} ns a day in all, {each} for a step of one")
        )
    print_facts(f"{counted(done.n_replicas, 'replica')} of {model.name}", rows)
    write_json(json, _figures(done, force_field, drift, temperature))
    names = ", ".join(path.name for path in written if path != done.files.restart)
    all_stopped = done.n_stopped == done.n_replicas
    further = "" if all_stopped else "; --resume with more --steps goes on"
    out.print(f"\nWrote {names}{further}.", soft_wrap=True)
    if not all_stopped:
        print_next("kraft analyze " + " ".join(str(path) for path in done.files.trajectories))


def _temperature_text(temperature: float) -> str:
    if math.isnan(temperature):
        return "not known: nothing was recorded after the start"
    return f"{number(temperature)} K on average"


def _drift_text(drift: float, ensemble: str) -> str:
    if math.isnan(drift):
        return "not known"
    energy = "total energy" if ensemble == "nve" else "energy less the thermostat's heat"
    return f"{number(1e3 * drift)} meV per atom and ps, of the {energy}"


def _alarm_text(done: MdRun) -> str:
    if not done.events:
        return "none"
    return f"{len(done.events)}; {done.n_stopped} of {counted(done.n_replicas, 'replica')} stopped"


def _figures(
    done: MdRun, force_field: ForceField, drift: float, temperature: float
) -> dict[str, Any]:
    return {
        "trajectories": [str(path) for path in done.files.trajectories],
        "log": done.files.log,
        "n_steps": done.n_steps,
        "n_replicas": done.n_replicas,
        "timestep_fs": done.timestep,
        "temperature_mean": temperature,
        "drift_eV_per_atom_ps": drift,
        "events": [vars(event) for event in done.events],
        "n_stopped": done.n_stopped,
        "seconds": done.seconds,
        "replica_steps": done.replica_steps,
        "ns_per_day": done.ns_per_day,
        **model_figures(force_field),
    }
