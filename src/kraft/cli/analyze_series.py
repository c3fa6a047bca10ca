"""What is told of one quantity along trajectories, and of its average over replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kraft.analysis.trajectories import (
    ReplicaAverage,
    average_over_replicas,
    between_replicas,
    first_reached,
    pooled_mean,
)
from kraft.cli.analyze_display import finish, lengths
from kraft.cli.means import mean_figures, rounded, with_error
from kraft.cli.summary import number, print_facts, print_notices
from kraft.cli.trajectory_options import Collected, ShowOptions, Simulations
from kraft.core.errors import DataError
from kraft.core.typing import FloatArray
from kraft.reports.trajectory_figures import Panel, series_figure


def show_series(
    simulations: Simulations,
    show: ShowOptions,
    found: Collected,
    name: str,
    unit: str,
    what: str,
    *,
    level: float | None = None,
) -> None:
    """Print, write and draw the first quantity collected, and when it first reaches a level."""
    column = found.averaged(0)
    mean = pooled_mean(column)
    low, high = min(each.min() for each in column), max(each.max() for each in column)
    rows = [
        ("atoms", what),
        ("frames", lengths(found.times, found.n_frames)),
        ("mean", with_error(mean, unit)),
        ("range", f"{number(float(low))} to {number(float(high))} {unit}"),
    ]
    figures: dict[str, Any] = {
        "trajectories": [file.path for file in simulations.files],
        "files": simulations.meaning,
        "quantity": name,
        "unit": unit,
        **mean_figures(mean),
        "smallest": low,
        "largest": high,
        "series": column,
        "times": found.times,
    }
    average = None
    if len(column) == 1:
        rows.append(("last", f"{number(float(column[0][-1]))} {unit}"))
    else:
        average = _average(column, found.times)
        error = between_replicas(column)
        rows.append(
            ("by replicas", f"{rounded(mean.mean, error)} {unit}, by the spread of their means")
        )
        figures["between_replicas"] = error
    if average is not None:
        rows += _average_rows(average, unit)
        figures["over_replicas"] = vars(average)
    if level is not None:
        text, reached = _reached(column, found.times, average, level)
        rows.append((f"{number(level)} {unit}", text))
        figures["reached"] = {"level": level, **reached}
    print_facts(f"{name[0].upper()}{name[1:]} of {simulations.title}", rows)
    panel = Panel(f"{name} ({unit})", column, average=average)
    finish(
        simulations, show, figures, lambda title: series_figure([panel], found.times, title=title)
    )


def _average(
    column: Sequence[FloatArray], times: Sequence[FloatArray | None]
) -> ReplicaAverage | None:
    """Return the average over replicas; say so where there is none."""
    try:
        return average_over_replicas(column, times)
    except DataError as error:
        print_notices([str(error)])
        return None


def _average_rows(average: ReplicaAverage, unit: str) -> list[tuple[str, str]]:
    ends = [
        f"{rounded(float(average.mean[place]), float(average.standard_error[place]))}"
        for place in (0, -1)
    ]
    counts = average.counts
    left = "" if counts[-1] == counts[0] else f" of which {counts[-1]} come to the end"
    return [
        (
            "with time",
            f"from {ends[0]} to {ends[1]} {unit}, mean of {counts[0]} replicas{left}",
        )
    ]


def _reached(
    column: Sequence[FloatArray],
    times: Sequence[FloatArray | None],
    average: ReplicaAverage | None,
    level: float,
) -> tuple[str, dict[str, Any]]:
    """Return when a level is first reached, in words and as figures in fs (else frames)."""
    timed = all(time is not None for time in times)
    unit = "fs" if timed else "frames"
    when = np.array(
        [
            _at(first_reached(each, level), time if timed else None)
            for each, time in zip(column, times, strict=True)
        ]
    )
    known = when[np.isfinite(when)]
    figures: dict[str, Any] = {"unit": unit, "each": when}
    if known.size == 0:
        return "not reached", figures
    error = float(known.std(ddof=1) / np.sqrt(known.size)) if known.size > 1 else float("nan")
    mean = float(known.mean())
    text = f"first reached after {rounded(mean, error) if error > 0.0 else number(mean)} {unit}"
    figures |= {"n_reached": known.size, "mean": mean, "standard_error": error}
    if len(when) > 1:
        which = "in all" if known.size == len(when) else f"in {known.size} of the"
        text += f", {which} {len(when)} replicas"
    if average is not None:
        of_mean = _at(first_reached(average.mean, level), average.times if timed else None)
        figures["of_average"] = of_mean
        if np.isfinite(of_mean):
            text += f"; by their average after {number(of_mean)} {unit}"
    return text, figures


def _at(frame: float, times: FloatArray | None) -> float:
    """Return the time since the start at a broken number of a frame."""
    if times is None or not np.isfinite(frame):
        return frame
    return float(np.interp(frame, np.arange(len(times)), times - times[0]))
