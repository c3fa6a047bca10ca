"""``kraft pimd``: path-integral molecular dynamics by i-PI; ``kraft ipi-driver`` serves i-PI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Group, Parameter

from kraft.cli.console import out
from kraft.cli.geometry_match import check_match
from kraft.cli.interruption import StopSwitch, resumable
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag
from kraft.cli.outputs import check_json, note_written, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.solver_flags import parse_time
from kraft.cli.summary import (
    counted,
    duration,
    number,
    print_facts,
    print_notices,
    print_warning,
)
from kraft.core.errors import OptionError
from kraft.data.geometry_format import read_geometries
from kraft.interfaces.ipi.driver import DRIVER_FILE, Extrapolation, KraftDriver
from kraft.interfaces.ipi.folder import DriverOptions, prepare
from kraft.interfaces.ipi.input_file import INPUT, PathIntegral, Thermostat
from kraft.interfaces.ipi.run import PimdRun, require_ipi, run_pimd
from kraft.interfaces.ipi.socket_client import PORT, UNIX_PREFIX, Address, serve
from kraft.models import ForceField
from kraft.simulation.nve import NONCONSERVATIVE
from kraft.simulation.watching import MAX_NOVELTY

DYNAMICS_GROUP = Group("Dynamics", sort_key=30)
WATCH_GROUP = Group("Watching the simulation", sort_key=35)
RUN_GROUP = Group("Long runs", sort_key=40)


@Parameter(name="*", group=DYNAMICS_GROUP)
@dataclass(frozen=True)
class PathOptions:
    """How the ring polymer moves."""

    beads: Annotated[int, Parameter(help="1 is classical dynamics.")] = 16
    temperature: Annotated[float, Parameter(help="K.")] = 300.0
    timestep: Annotated[float, Parameter(help="fs.")] = 0.5
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
    frame_interval: Annotated[int, Parameter(help="Steps between frames.")] = 20
    seed: Annotated[int, Parameter(help="Of velocities and thermostat.")] = 0

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
class PathWatchOptions:
    """What is looked at besides energies and forces."""

    on_extrapolation: Annotated[
        Extrapolation,
        Parameter(help="On too high a novelty: stop, write the geometry down, or ignore it."),
    ] = "stop"
    max_novelty: Annotated[
        float, Parameter(help="Distance from the training geometries, about 1 near them.")
    ] = MAX_NOVELTY
    uncertainty: Annotated[
        bool,
        Flag,
        Parameter(help="Write standard deviations of each frame; they cost more than the forces."),
    ] = False

    def driver(self, threads: int | None) -> DriverOptions:
        """Return what the driver does."""
        if not self.max_novelty > 0.0:
            raise OptionError(f"Expected a positive --max-novelty, got {self.max_novelty}.")
        return DriverOptions(self.uncertainty, self.max_novelty, self.on_extrapolation, threads)


@Parameter(name="*", group=RUN_GROUP)
@dataclass(frozen=True)
class PathRunOptions:
    """Time limit, checkpoints, resuming."""

    max_time: Annotated[
        str | None,
        Parameter(help="Stop after 90 (seconds), 30m, 1h30m …, so that --resume can go on."),
    ] = None
    checkpoint_interval: Annotated[
        int, Parameter(help="Steps between checkpoints of i-PI, at frames.")
    ] = 1000
    resume: Annotated[
        bool, Flag, Parameter(help="Go on with a simulation; --steps may be larger than before.")
    ] = False
    input_only: Annotated[
        bool, Flag, Parameter(help="Write the folder and do not run i-PI; needs no i-PI.")
    ] = False

    @property
    def seconds(self) -> float | None:
        """The time limit in seconds, or None."""
        return None if self.max_time is None else parse_time(self.max_time)


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
        )
    _summarize(done, settings, force_field, model, json)


def _summarize(
    done: PimdRun, run: PathIntegral, force_field: ForceField, model: Path, json: Path | None
) -> None:
    columns = {name.partition("{")[0]: values for name, values in done.table.items()}
    later = columns["step"] > 0
    means = {
        name: float(np.mean(columns[name][later])) if later.any() else float("nan")
        for name in ("temperature", "potential", "kinetic_cv")
    }
    rows = [
        ("dynamics", f"{run.thermostat} at {run.temperature:g} K, steps of {run.timestep:g} fs"),
        ("simulated", f"{number(1e-3 * run.timestep * done.n_steps)} ps ({done.n_steps} steps)"),
        ("temperature", f"{number(means['temperature'])} K on average"),
        ("kinetic energy", f"{number(means['kinetic_cv'])} eV, centroid virial estimator"),
    ]
    ns_per_day = float("nan")
    if done.new_steps and done.seconds > 0.0:
        each = done.seconds / done.new_steps
        ns_per_day = 1e-6 * run.timestep * 86400.0 / each
        rows.append(("speed", f"{number(ns_per_day)} ns a day, {duration(each)} a step"))
    if done.alarms is not None:
        rows.append(("extrapolation", f"yes, see {done.alarms}"))
    print_facts(f"{counted(run.n_beads, 'bead')} of {model.name}", rows)
    figures: dict[str, Any] = {
        "folder": done.folder,
        "n_steps": done.n_steps,
        "n_beads": run.n_beads,
        "timestep_fs": run.timestep,
        "temperature_mean": means["temperature"],
        "potential_mean_eV": means["potential"],
        "kinetic_cv_mean_eV": means["kinetic_cv"],
        "seconds": done.seconds,
        "new_steps": done.new_steps,
        "ns_per_day": ns_per_day,
        "alarms": done.alarms,
        **model_figures(force_field),
    }
    write_json(json, figures)
    note_written(done.folder)
    out.print(f"\nWrote {done.folder}; --resume with more --steps goes on.", soft_wrap=True)


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
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
) -> None:
    """Serve energies and forces to i-PI (or to ASE's SocketIOCalculator) over a socket.

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
        Calls between computations of novelty (and uncertainty) for the extras; 0 for none.
    uncertainty
        Give standard deviations in the extras.
    any_order
        Do not check whether like atoms have changed places.
    path
        Only print the path of the driver file, for <pes_path> of an <ffdirect>.
    """
    if path:
        out.print(str(DRIVER_FILE), soft_wrap=True)
        return
    if model is None:
        raise OptionError("Expected a model: kraft ipi-driver MODEL (or --path).")
    compute.apply()
    driver = KraftDriver(
        load_model(model, compute.device, compute.dtype),
        interval=interval,
        uncertainty=uncertainty,
        check_order=not any_order,
    )
    served = serve(driver, Address(address, None if unix else port, prefix), patience=patience)
    out.print(f"Served {counted(served, 'geometry')}.")
