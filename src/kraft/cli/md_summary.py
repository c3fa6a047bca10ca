"""What ``kraft md`` tells at its end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from kraft.analysis.trajectories import BlockedMean, pooled_mean
from kraft.cli.console import out
from kraft.cli.md_options import MdDynamicsOptions
from kraft.cli.means import mean_figures, rounded, with_error
from kraft.cli.outputs import note_written, write_json
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, duration, number, print_facts, print_next
from kraft.core.typing import FloatArray
from kraft.models import ForceField
from kraft.simulation.md import MdRun
from kraft.simulation.recording import Log
from kraft.simulation.steering import Steering


def summarize(
    done: MdRun,
    force_field: ForceField,
    dynamics: MdDynamicsOptions,
    steering: Steering | None,
    model: Path,
    json: Path | None,
) -> None:
    """Print what a simulation did, what it wrote and what to do next; write ``--json``."""
    written = [path for path in (*done.files.growing, done.files.restart) if path.exists()]
    for path in written:
        note_written(path)
    log = done.log
    drift, temperature = log.drift(done.n_atoms), mean_temperature(log)
    simulated = 1e-3 * done.n_steps * done.timestep
    rows = [
        ("dynamics", dynamics.description()),
        ("simulated", f"{number(simulated)} ps ({done.n_steps} steps) of each"),
        ("temperature", _temperature_text(temperature)),
        ("drift", _drift_text(drift, dynamics.ensemble, steering)),
        *_watched_rows(log),
    ]
    if steering is not None:
        rows.append(("external force", f"{steering}; {_work_text(external_work(log))}"))
    rows.append(("alarms", _alarm_text(done)))
    if done.replica_steps:
        each = duration(done.seconds / done.replica_steps)
        rows.append(
            ("speed", f"{number(done.ns_per_day)} ns a day in all, {each} for a step of one")
        )
    print_facts(f"{counted(done.n_replicas, 'replica')} of {model.name}", rows)
    write_json(json, _figures(done, force_field, drift, temperature, steering, log))
    names = ", ".join(path.name for path in written if path != done.files.restart)
    all_stopped = done.n_stopped == done.n_replicas
    further = "" if all_stopped else "; --resume with more --steps goes on"
    out.print(f"\nWrote {names}{further}.", soft_wrap=True)
    if not all_stopped:
        print_next("kraft analyze " + " ".join(str(path) for path in done.files.trajectories))


def _watched_rows(log: Log) -> list[tuple[str, str]]:
    """Return what guards computed of the frames."""
    rows = []
    for name, values, unit in (
        ("novelty", log.novelty, ""),
        ("uncertainty", log.force_std, " eV/Å, of the least certain force"),
    ):
        if np.isfinite(values).any():
            mean, largest = number(float(np.nanmean(values))), number(float(np.nanmax(values)))
            rows.append((name, f"{mean} on average, at most {largest}{unit}"))
    return rows


def mean_temperature(log: Log) -> BlockedMean | None:
    """Return the mean temperature in K of all replicas, without the start; None without frames."""
    later = log.steps > 0
    numbers = np.unique(log.replicas[later])
    series = [log.temperatures[later & (log.replicas == number)] for number in numbers]
    return pooled_mean(series) if series else None


def external_work(log: Log) -> FloatArray:
    """Return the work ``(R,)`` in eV that the external force has done on each replica."""
    ends = [log.external[log.replicas == number][[0, -1]] for number in np.unique(log.replicas)]
    work: FloatArray = np.array([first - last for first, last in ends])
    return work


def _temperature_text(temperature: BlockedMean | None) -> str:
    if temperature is None:
        return "not known: nothing was recorded after the start"
    return f"mean {with_error(temperature, 'K')}"


def _drift_text(drift: float, ensemble: str, steering: Steering | None) -> str:
    if math.isnan(drift):
        return "not known"
    energy = "total energy" if ensemble == "nve" else "energy less the thermostat's heat"
    external = "" if steering is None else ", the external force's potential included"
    return f"{number(1e3 * drift)} meV per atom and ps, of the {energy}{external}"


def _work_text(work: FloatArray) -> str:
    if len(work) < 2:
        return f"work done {number(float(work[0]))} eV"
    error = float(work.std(ddof=1) / np.sqrt(len(work)))
    return f"work done {rounded(float(work.mean()), error)} eV, mean of {len(work)} replicas"


def _alarm_text(done: MdRun) -> str:
    if not done.events:
        return "none"
    return f"{len(done.events)}; {done.n_stopped} of {counted(done.n_replicas, 'replica')} stopped"


def _figures(
    done: MdRun,
    force_field: ForceField,
    drift: float,
    temperature: BlockedMean | None,
    steering: Steering | None,
    log: Log,
) -> dict[str, Any]:
    pull = None
    if steering is not None:
        pull = {**vars(steering), "unit": "pN", "work_eV": external_work(log)}
    return {
        "trajectories": [str(path) for path in done.files.trajectories],
        "log": done.files.log,
        "n_steps": done.n_steps,
        "n_replicas": done.n_replicas,
        "timestep_fs": done.timestep,
        "temperature_mean": None if temperature is None else temperature.mean,
        "temperature_K": None if temperature is None else mean_figures(temperature),
        "drift_eV_per_atom_ps": drift,
        "external_force": pull,
        "largest_novelty": _largest(log.novelty),
        "largest_force_std_eV_A": _largest(log.force_std),
        "events": [vars(event) for event in done.events],
        "n_stopped": done.n_stopped,
        "seconds": done.seconds,
        "replica_steps": done.replica_steps,
        "ns_per_day": done.ns_per_day,
        **model_figures(force_field),
    }


def _largest(values: FloatArray) -> float | None:
    return float(np.nanmax(values)) if np.isfinite(values).any() else None
