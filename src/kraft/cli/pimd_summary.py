"""What ``kraft pimd`` tells at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kraft.analysis.trajectories import BlockedMean, blocked_mean
from kraft.cli.console import out
from kraft.cli.means import mean_figures, with_error
from kraft.cli.outputs import note_written, write_json
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, duration, number, print_facts, print_next
from kraft.core.typing import FloatArray
from kraft.interfaces.ipi.input_file import PREFIX, PathIntegral
from kraft.interfaces.ipi.results import PimdRun
from kraft.models import ForceField


def summarize(
    done: PimdRun,
    run: PathIntegral,
    force_field: ForceField,
    max_novelty: float,
    model: Path,
    json: Path | None,
) -> None:
    """Print what a simulation did and what to do next; write ``--json``."""
    columns = {name.partition("{")[0]: values for name, values in done.table.items()}
    later = columns["step"] > 0
    means = {
        name: blocked_mean(columns[name][later]) if later.any() else None
        for name in ("temperature", "potential", "kinetic_cv")
    }
    novelty = done.novelty
    rows = [
        ("dynamics", f"{run.thermostat} at {run.temperature:g} K, steps of {run.timestep:g} fs"),
        ("simulated", f"{number(1e-3 * run.timestep * done.n_steps)} ps ({done.n_steps} steps)"),
        ("temperature", _text(means["temperature"], "K")),
        ("kinetic energy", f"{_text(means['kinetic_cv'], 'eV')}, centroid virial estimator"),
        ("novelty", _novelty_text(novelty, max_novelty)),
        ("alarms", _alarm_text(done)),
    ]
    each = done.seconds / done.new_steps if done.new_steps and done.seconds > 0.0 else float("nan")
    ns_per_day = 1e-6 * run.timestep * 86400.0 / each
    if np.isfinite(each):
        rows.append(("speed", f"{number(ns_per_day)} ns a day, {duration(each)} a step"))
    print_facts(f"{counted(run.n_beads, 'bead')} of {model.name}", rows)
    figures: dict[str, Any] = {
        "folder": done.folder,
        "n_steps": done.n_steps,
        "n_beads": run.n_beads,
        "timestep_fs": run.timestep,
        "temperature_mean": _mean(means["temperature"]),
        "potential_mean_eV": _mean(means["potential"]),
        "kinetic_cv_mean_eV": _mean(means["kinetic_cv"]),
        **{
            name: None if mean is None else mean_figures(mean)
            for name, mean in zip(
                ("temperature_K", "potential_eV", "kinetic_cv_eV"), means.values(), strict=True
            )
        },
        "largest_novelty": None if novelty is None else float(np.nanmax(novelty)),
        "seconds": done.seconds,
        "new_steps": done.new_steps,
        "ns_per_day": ns_per_day,
        "alarms": done.alarms,
        "events": [vars(event) for event in done.events],
        **model_figures(force_field),
    }
    write_json(json, figures)
    note_written(done.folder)
    out.print(f"\nWrote {done.folder}; --resume with more --steps goes on.", soft_wrap=True)
    print_next(
        f"kraft analyze energy {done.folder / f'{PREFIX}.out'}",
        f"kraft analyze --files beads {done.folder / f'{PREFIX}.pos_*.xyz'}",
    )


def _text(mean: BlockedMean | None, unit: str) -> str:
    if mean is None:
        return "not known: nothing was recorded after the start"
    return f"mean {with_error(mean, unit)}"


def _mean(mean: BlockedMean | None) -> float | None:
    return None if mean is None else mean.mean


def _novelty_text(novelty: FloatArray | None, limit: float) -> str:
    if novelty is None or not np.isfinite(novelty).any():
        return "not known"
    mean, largest = float(np.nanmean(novelty)), float(np.nanmax(novelty))
    return f"{mean:.2f} on average, at most {largest:.2f} of any bead at a frame (limit {limit:g})"


def _alarm_text(done: PimdRun) -> str:
    if done.alarms is None:
        return "none"
    reasons = [event.reason for event in done.events]
    kinds = ", ".join(f"{reasons.count(kind)} of {kind}" for kind in dict.fromkeys(reasons))
    beads = counted(len({event.bead for event in done.events}), "bead")
    return f"{kinds or len(reasons)}, of {beads}: see {done.alarms}"
