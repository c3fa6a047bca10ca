"""Simulations of a row, resumed where a killed script left them."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reporting import Figures

import kraft
from kraft.analysis.trajectories import Frames, read_trajectory
from kraft.interfaces.ipi import DriverOptions, PathIntegral, read_table, run_pimd
from kraft.simulation import Langevin, MdRun, Steering, VelocityRescaling, Watching, run_md

from .cases import Quantum, Sampling

Array = NDArray[np.float64]
TIME_CONSTANT = 500.0
"""fs, of velocity rescaling for spectra: weak, so that lines are not broadened."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Frames of independent simulations, with what was noted on the way.

    Attributes
    ----------
    frames
        One for each simulation, the time to equilibrate left out.
    figures
        Lengths, costs, alarms.
    """

    frames: list[Frames]
    figures: Figures


@dataclass(frozen=True, eq=False)
class Paths:
    """Path-integral simulations.

    Attributes
    ----------
    beads
        For each simulation the frames of its beads.
    centroids
        For each simulation the frames of its centroid.
    energies
        For each simulation the potential energy ``(T,)`` in eV, mean over the beads, from the
        first step on.
    times
        The times in ps of the energies of one simulation.
    figures
        Lengths, costs.
    """

    beads: list[list[Frames]]
    centroids: list[Frames]
    energies: list[Array]
    times: Array
    figures: Figures


def classical(
    force_field: kraft.ForceField,
    starts: Array,
    folder: Path,
    name: str,
    sampling: Sampling,
    temperature: float,
    *,
    spectral: bool = False,
    steering: Steering | None = None,
    guarded: bool = True,
) -> Trajectories:
    """Simulate classical replicas: Langevin dynamics, or velocity rescaling for spectra.

    Raises
    ------
    RuntimeError
        When all replicas were stopped before the first frame that counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    step = sampling.timestep
    integrator: Langevin | VelocityRescaling = Langevin(step, temperature)
    if spectral:
        integrator = VelocityRescaling(step, temperature, time_constant=TIME_CONSTANT)
    run = run_md(
        force_field,
        starts,
        folder / f"{name}.xyz",
        integrator=integrator,
        n_steps=round(1e3 * (sampling.length + sampling.equilibration) / step),
        temperature=temperature,
        n_replicas=sampling.replicas,
        frame_interval=max(1, round(sampling.interval / step)),
        watching=Watching("stop" if guarded else "ignore", max_novelty=None),
        resume=True,
        steering=steering,
        progress=Progress(name),
    )
    skipped = round(1e3 * sampling.equilibration / sampling.interval)
    frames = [_read(path, sampling.interval, skipped) for path in run.files.trajectories]
    if not any(frames):
        told = "; ".join(event.message for event in run.events[:3])
        raise RuntimeError(f"{name}: all replicas were stopped early: {told}")
    figures = _figures(force_field, run, frames, sampling, temperature)
    figures["seconds_per_step"] = _cost(
        folder / f"{name}.cost.json", run.seconds, run.replica_steps
    )
    return Trajectories([each for each in frames if each is not None], figures)


def _figures(
    force_field: kraft.ForceField,
    run: MdRun,
    frames: list[Frames | None],
    sampling: Sampling,
    temperature: float,
) -> Figures:
    log = run.log
    late = log.times > sampling.equilibration
    kept = [each.positions[:: max(1, len(each) // 8)] for each in frames if each is not None]
    novelty = force_field.novelty(np.concatenate(kept)) if kept else np.zeros(1)
    return {
        "replicas": sampling.replicas,
        "length_ps": sampling.length,
        "equilibration_ps": sampling.equilibration,
        "timestep_fs": sampling.timestep,
        "temperature_K": temperature,
        "total_ps": 1e-3 * sampling.interval * sum(len(e) - 1 for e in frames if e is not None),
        "mean_temperature_K": float(log.temperatures[late].mean()) if late.any() else None,
        "drift_eV_per_atom_ps": log.drift(run.n_atoms),
        "n_stopped": run.n_stopped,
        "alarms": [[event.replica, event.time, event.reason] for event in run.events],
        "n_steps": run.n_steps * sampling.replicas,
        "novelty_median": float(np.median(novelty)),
        "novelty_max": float(novelty.max()),
    }


def _cost(path: Path, seconds: float, steps: int) -> float:
    """Return the seconds of a step, over all calls that have made some: a row may be resumed."""
    spent: Figures = {"seconds": 0.0, "steps": 0}
    if path.exists():
        spent = json.loads(path.read_text(encoding="utf-8"))
    spent = {"seconds": spent["seconds"] + seconds, "steps": spent["steps"] + steps}
    path.write_text(json.dumps(spent) + "\n", encoding="utf-8")
    return float(spent["seconds"] / spent["steps"]) if spent["steps"] else 0.0


def ends(trajectories: Trajectories) -> Array:
    """Return the last geometries ``(R, N, 3)``."""
    return np.stack([frames.positions[-1] for frames in trajectories.frames])


def quantum(
    force_field: kraft.ForceField,
    starts: Array,
    folder: Path,
    case: Quantum,
    temperature: float,
    *,
    guarded: bool = True,
) -> Paths:
    """Simulate path integrals by i-PI, one after the other from ``starts`` (S, N, 3).

    Velocities of the centroid are rescaled as a whole (PILE-G), so that the same run gives
    distributions and spectra.
    """
    beads, centroids, energies, times = [], [], [], np.zeros(0)
    cost, skipped = 0.0, round(1e3 * case.equilibration / case.interval)
    for number in range(case.runs):
        interval = max(1, round(case.interval / case.timestep))
        run = run_pimd(
            force_field,
            starts[number % len(starts)],
            folder / f"paths-{number}",
            PathIntegral(
                n_steps=round(1e3 * (case.length + case.equilibration) / case.timestep),
                n_beads=case.beads,
                temperature=temperature,
                timestep=case.timestep,
                thermostat="pile-g",
                time_constant=TIME_CONSTANT,
                frame_interval=interval,
                checkpoint_interval=interval * max(1, 2000 // interval),
                seed=number,
            ),
            DriverOptions(on_extrapolation="warn" if guarded else "ignore"),
            resume=True,
            progress=Progress(f"path integral {number}"),
        )
        cost = _cost(folder / "paths.cost.json", run.seconds, run.new_steps)
        paths = sorted(run.folder.glob("simulation.pos_*.xyz"))
        rings = [_read(path, case.interval, skipped, case.every) for path in paths]
        beads.append([ring for ring in rings if ring is not None])
        center = _read(run.folder / "simulation.xc.xyz", case.interval, skipped)
        centroids += [] if center is None else [center]
        table = read_table(run.folder / "simulation.out")
        energies.append(np.asarray(table["potential{electronvolt}"], np.float64))
        times = np.asarray(table["time{picosecond}"], np.float64)
    novelty = force_field.novelty(
        np.concatenate([b.positions[:: max(1, len(b) // 8)] for ring in beads for b in ring])
    )
    figures = {
        "runs": case.runs,
        "length_ps": case.length,
        "equilibration_ps": case.equilibration,
        "beads": case.beads,
        "timestep_fs": case.timestep,
        "temperature_K": temperature,
        "seconds_per_step": cost,
        "n_steps": case.runs * round(1e3 * (case.length + case.equilibration) / case.timestep),
        "novelty_median": float(np.median(novelty)),
        "novelty_max": float(novelty.max()),
    }
    return Paths(beads, centroids, energies, times, figures)


def _read(path: Path, interval: float, skipped: int, every: int = 1) -> Frames | None:
    """Return the frames after ``skipped`` ones, or None where a replica did not come so far."""
    try:
        return read_trajectory(path, frame_time=interval, start=skipped, every=every)
    except kraft.KraftError:
        return None


class Progress:
    """Tells on standard error how far a simulation is, now and then.

    Parameters
    ----------
    name
        Of the simulation.
    """

    def __init__(self, name: str) -> None:
        self._name, self._told = name, time.perf_counter()

    def __call__(self, stage: str, done: int, total: int) -> None:  # noqa: ARG002
        """Take a message of kraft."""
        now = time.perf_counter()
        if now - self._told > 20.0:
            print(f"{self._name}: {done} of {total} steps", file=sys.stderr, flush=True)
            self._told = now
