"""``kraft md``: molecular dynamics with a model, one molecule or many replicas of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kraft.cli.boundary import EXIT_ERROR
from kraft.cli.geometry_match import check_match, warn_of_far_starts
from kraft.cli.interruption import StopSwitch, resumable
from kraft.cli.md_options import MdDynamicsOptions, MdRunOptions, MdWatchOptions, SteeringOptions
from kraft.cli.md_summary import summarize
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag
from kraft.cli.outputs import check_json, check_output
from kraft.cli.progress import Display, progress_bars
from kraft.cli.simulation_options import already_done
from kraft.cli.summary import number, print_notices, print_warning
from kraft.core.errors import OptionError
from kraft.core.progress import Progress
from kraft.data.geometry_format import Geometries, read_geometries
from kraft.models import ForceField
from kraft.simulation.integrators import Integrator, VelocityVerlet
from kraft.simulation.md import run_md
from kraft.simulation.nve import NONCONSERVATIVE
from kraft.simulation.recording import OutputFiles
from kraft.simulation.restart import Event


def md(
    model: Path,
    start: Path,
    /,
    *,
    steps: int,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    overwrite: Annotated[bool, Flag] = False,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    json: Path | None = None,
    dynamics: MdDynamicsOptions = MdDynamicsOptions(),  # noqa: B008
    steer: SteeringOptions = SteeringOptions(),  # noqa: B008
    watch: MdWatchOptions = MdWatchOptions(),  # noqa: B008
    run: MdRunOptions = MdRunOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
) -> int:
    """Simulate a molecule with a model, and write its trajectory as extended XYZ.

    The exit code is 1 when all replicas were stopped by alarms.

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
    length_unit
        Unit of the positions where the file does not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    json
        File to write all figures to, for programs.
    """
    compute.apply()
    integrator, watching, seconds = dynamics.integrator(), watch.watching(), run.seconds
    interval, steering = run.between_states, steer.steering()
    check_json(json)
    check_output(output, suffixes=(".xyz", ".extxyz"), overwrite=True)
    files = OutputFiles.of(output, max(1, dynamics.replicas))
    _check_files(files, overwrite=overwrite, resume=run.resume)
    force_field = load_model(model, compute.device, compute.dtype)
    frames = read_geometries(start, length_unit=length_unit)
    check_match(force_field, frames, start, any_order=any_order)
    _print_notes(force_field, frames, start, integrator, dynamics.replicas)
    if watching.action != "ignore":
        starts = frames.positions[: max(0, dynamics.replicas)]
        warn_of_far_starts(force_field, starts, start, watch.max_novelty)
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
            frame_interval=dynamics.frame_interval,
            steering=steering,
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
    if run.resume and done.replica_steps == 0 and done.n_stopped < done.n_replicas:
        print_notices([already_done(done.n_steps, steps)])
    summarize(done, force_field, dynamics, steering, model, json)
    if done.n_stopped < done.n_replicas:
        return 0
    print_warning("All replicas were stopped: a failure, exit code 1. Look at the alarms.")
    return EXIT_ERROR


def _with_speed(display: Display, dynamics: MdDynamicsOptions) -> Progress:
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


def _print_event(event: Event) -> None:
    stopped = " Stopped; the last sound geometry is kept." if event.stopped else ""
    print_warning(
        f"replica {event.replica} after {1e3 * event.time:g} fs: {event.message}{stopped}"
    )
