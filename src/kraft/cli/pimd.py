"""``kraft pimd``: path-integral molecular dynamics by i-PI; ``kraft ipi-driver`` serves i-PI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from kraft.cli.console import out
from kraft.cli.geometry_match import check_match, warn_of_far_starts
from kraft.cli.interruption import StopSwitch, resumable
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag
from kraft.cli.outputs import check_json, check_output, note_written
from kraft.cli.pimd_summary import summarize
from kraft.cli.progress import progress_bars
from kraft.cli.simulation_options import (
    DYNAMICS_GROUP,
    RUN_GROUP,
    WATCH_GROUP,
    DynamicsOptions,
    LongRunOptions,
    WatchOptions,
    already_done,
)
from kraft.cli.summary import counted, print_notices, print_warning
from kraft.core.errors import OptionError
from kraft.data.geometry_format import read_geometries
from kraft.interfaces.ipi.bead_watch import BeadAlarm
from kraft.interfaces.ipi.driver import DRIVER_FILE, KraftDriver
from kraft.interfaces.ipi.folder import DriverOptions, prepare
from kraft.interfaces.ipi.input_file import ALARMS, INPUT, PathIntegral, Thermostat
from kraft.interfaces.ipi.run import require_ipi, run_pimd
from kraft.interfaces.ipi.socket_client import PORT, UNIX_PREFIX, Address, serve
from kraft.simulation.nve import NONCONSERVATIVE


@Parameter(name="*", group=DYNAMICS_GROUP)
@dataclass(frozen=True)
class PathOptions(DynamicsOptions):
    """How the ring polymer moves."""

    beads: Annotated[int, Parameter(help="1 is classical dynamics.")] = 16
    thermostat: Annotated[
        Thermostat,
        Parameter(
            help="Langevin for each normal mode, the same with velocity rescaling of the "
            "centroid, Langevin, rescaling, or none: ring-polymer dynamics."
        ),
    ] = "pile-l"
    time_constant: Annotated[
        float, Parameter(help="fs, of the thermostat; for PILE that of the centroid.")
    ] = 100.0
    splitting: Annotated[
        Literal["obabo", "baoab"], Parameter(help="Order of thermostat, kicks and moves.")
    ] = "obabo"

    def path_integral(self, n_steps: int, checkpoint_interval: int) -> PathIntegral:
        """Return what is to be simulated; the checkpoints are at frames."""
        frames = max(1, -(-checkpoint_interval // max(1, self.frame_interval)))
        return PathIntegral(
            n_steps=n_steps,
            n_beads=self.beads,
            temperature=self.temperature,
            timestep=self.timestep,
            thermostat=self.thermostat,
            time_constant=self.time_constant,
            splitting=self.splitting,
            frame_interval=self.frame_interval,
            checkpoint_interval=frames * max(1, self.frame_interval),
            seed=self.seed,
        )


@Parameter(name="*", group=WATCH_GROUP)
@dataclass(frozen=True)
class PathWatchOptions(WatchOptions):
    """What is looked at besides energies and forces."""

    uncertainty: Annotated[
        bool,
        Flag,
        Parameter(help="Write standard deviations of each frame; they cost more than the forces."),
    ] = False

    def driver(self, threads: int | None) -> DriverOptions:
        """Return what the driver does."""
        self.check()
        return DriverOptions(
            self.uncertainty, self.max_novelty, self.max_force_std, self.on_extrapolation, threads
        )


@Parameter(name="*", group=RUN_GROUP)
@dataclass(frozen=True)
class PathRunOptions(LongRunOptions):
    """Time limit, checkpoints, resuming."""

    checkpoint_interval: Annotated[
        int, Parameter(help="Steps between checkpoints of i-PI, at frames.")
    ] = 1000
    input_only: Annotated[
        bool, Flag, Parameter(help="Write the folder and do not run i-PI; needs no i-PI.")
    ] = False


def pimd(
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
    dynamics: PathOptions = PathOptions(),
    watch: PathWatchOptions = PathWatchOptions(),
    run: PathRunOptions = PathRunOptions(),
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
) -> None:
    """Simulate a molecule with quantum nuclei: path-integral molecular dynamics by i-PI.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    start
        Geometry to start from, anything ASE reads; the first where there are several.
    steps
        Time steps in all.
    output
        Folder to make, with i-PI's input, its outputs (simulation.*) and a copy of the model.
    overwrite
        Replace a simulation that is there already.
    length_unit
        Unit of the positions where the file does not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    json
        File to write all figures to, for programs.
    """
    compute.apply()
    settings = dynamics.path_integral(steps, run.checkpoint_interval)
    driver, seconds = watch.driver(compute.threads), run.seconds
    check_json(json)
    if not run.input_only:
        require_ipi()
    force_field = load_model(model, compute.device, compute.dtype)
    frames = read_geometries(start, length_unit=length_unit)
    check_match(force_field, frames, start, any_order=any_order)
    if not force_field.conservative:
        print_warning(NONCONSERVATIVE.split(" For dynamics")[0])
    if len(frames) > 1:
        print_notices([f"{start.name} has {len(frames)} geometries; the first is started from."])
    if watch.on_extrapolation != "ignore":
        warn_of_far_starts(force_field, frames.positions[:1], start, watch.max_novelty)
    if run.input_only:
        path = prepare(
            force_field, frames.positions[0], output, settings, driver, overwrite=overwrite
        )
        note_written(path)
        out.print(f"Wrote {path}. Run it by: cd {output} && i-pi {INPUT}", soft_wrap=True)
        return
    switch = StopSwitch()
    with progress_bars() as progress, resumable(output), switch.listening():
        done = run_pimd(
            force_field,
            frames.positions[0],
            output,
            settings,
            driver,
            overwrite=overwrite,
            resume=run.resume,
            max_time=seconds,
            progress=progress,
            stop_requested=lambda: switch.requested,
            on_alarm=_print_alarm,
        )
    if run.resume and done.new_steps == 0:
        print_notices([already_done(done.n_steps, steps)])
    summarize(done, settings, force_field, watch.max_novelty, model, json)


def _print_alarm(alarm: BeadAlarm) -> None:
    print_warning(f"bead {alarm.bead} after {alarm.step} steps: {alarm.message}")


def ipi_driver(
    model: Path | None = None,
    /,
    *,
    address: str = "localhost",
    port: int = PORT,
    unix: Annotated[bool, Flag] = False,
    prefix: str = UNIX_PREFIX,
    patience: float = 60.0,
    interval: int = 1,
    uncertainty: Annotated[bool, Flag] = False,
    any_order: Annotated[bool, Flag] = False,
    path: Annotated[bool, Flag] = False,
    start: Path | None = None,
    alarms: Path = Path(ALARMS),
    watch: WatchOptions = WatchOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
) -> None:
    """Serve energies and forces to i-PI (or to ASE's SocketIOCalculator) over a socket.

    The exit code is 1 when it stopped at a geometry that is unlike what the model knows.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    address
        Host where i-PI runs, or with --unix the <address> of its socket.
    port
        Port of the host.
    unix
        Use a UNIX socket.
    prefix
        What i-PI puts before names of UNIX sockets.
    patience
        Seconds to wait for i-PI to start.
    interval
        Evaluations between looks, which compute novelty (and uncertainty) for the extras and judge
        the geometries; 0 for none.
    uncertainty
        Give standard deviations in the extras.
    any_order
        Do not check whether like atoms have changed places.
    path
        Only print the path of the driver file, for <pes_path> of an <ffdirect>.
    start
        Geometry that tells which atoms are bonded; by default a typical training geometry.
    alarms
        Extended XYZ to append geometries with alarms to.
    """
    if path:
        out.print(str(DRIVER_FILE), soft_wrap=True)
        return
    if model is None:
        raise OptionError("Expected a model: kraft ipi-driver MODEL (or --path).")
    compute.apply()
    watch.check()
    action, told = watch.on_extrapolation, list[BeadAlarm]()
    if action != "ignore":
        check_output(alarms, suffixes=(".xyz", ".extxyz"), overwrite=True)
        alarms.parent.mkdir(parents=True, exist_ok=True)
        if interval == 0:
            print_notices(["--interval 0: nothing is watched."])

    def tell(alarm: BeadAlarm) -> None:
        told.append(alarm)
        if action == "warn":  # what stops is told by the error
            print_warning(f"evaluation {alarm.step}, geometry {alarm.bead}: {alarm.message}")

    driver = KraftDriver(
        load_model(model, compute.device, compute.dtype),
        interval=interval,
        uncertainty=uncertainty,
        max_novelty=watch.max_novelty,
        max_force_std=watch.max_force_std,
        on_extrapolation=action,
        alarms=alarms,
        start=start,
        on_alarm=tell,
        check_order=not any_order,
    )
    served = serve(driver, Address(address, None if unix else port, prefix), patience=patience)
    seen = f" {counted(len(told), 'alarm')}: see {alarms}." if told else ""
    out.print(f"Served {counted(served, 'geometry')}.{seen}", soft_wrap=True)
