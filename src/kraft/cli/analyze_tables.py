"""Tables of energies: ``run.csv`` of ``kraft md``, and the tables of properties of i-PI."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kraft.analysis.trajectories import ReadingRules, cumulative_mean, drift, pooled_mean
from kraft.analysis.trajectories.ipi_files import (
    in_electronvolt,
    in_femtoseconds,
    property_table_of,
    read_properties,
)
from kraft.cli.analyze_display import energy_figures, energy_rows, finish, lengths
from kraft.cli.means import mean_figures, with_error
from kraft.cli.summary import number, print_facts
from kraft.cli.trajectory_options import ShowOptions, TrajectoryOptions, is_table
from kraft.core.errors import DataError, OptionError
from kraft.core.typing import FloatArray
from kraft.data import Units
from kraft.reports.trajectory_figures import Panel, series_figure
from kraft.simulation.guards import FORCE_STD, NOVELTY
from kraft.simulation.recording import Log

_WATCHED = ((NOVELTY, "novelty", ""), (FORCE_STD, "uncertainty", "eV/Å"))
"""What guards compute: name among the figures, in words, and unit."""


@dataclass(frozen=True, eq=False)
class EnergySeries:
    """Energies of one simulation.

    Attributes
    ----------
    times
        ``(T,)`` fs, or None.
    potential
        ``(T,)`` eV.
    conserved, temperatures
        ``(T,)`` in eV and K, or None.
    novelty, force_std
        ``(T,)`` what guards computed, the second in eV/Å, or None.
    """

    times: FloatArray | None
    potential: FloatArray
    conserved: FloatArray | None
    temperatures: FloatArray | None
    novelty: FloatArray | None = None
    force_std: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Tables:
    """Energies of one or several simulations, from tables.

    Attributes
    ----------
    paths
        The files.
    series
        One for each simulation.
    notices
        What was assumed.
    """

    paths: Sequence[Path]
    series: Sequence[EnergySeries]
    notices: Sequence[str] = ()

    @property
    def title(self) -> str:
        """What they are, for headings."""
        more = f" ({len(self.series)} replicas)" if len(self.series) > 1 else ""
        several = " ..." if len(self.paths) > 1 else ""
        return f"{self.paths[0].name}{several}{more}"


def read_tables(paths: Sequence[Path], reading: TrajectoryOptions) -> Tables | None:
    """Read tables of energies; None where the files are trajectories.

    Raises
    ------
    OptionError
        When some are tables and others are not.
    DataError
        When one cannot be read or has no energies.
    """
    tables = [path for path in paths if is_table(path)]
    if not tables:
        return None
    if len(tables) < len(paths):
        raise OptionError(
            f"{tables[0].name} is a table of energies, other files are trajectories. Give either."
        )
    found: list[EnergySeries] = []
    for path in tables:
        if not path.is_file():
            raise DataError(f"{path} is not there. Expected a table of energies.")
        found += _of_dynamics(path) if path.suffix == ".csv" else [_of_ipi(path)]
    return Tables(tables, [_chosen(series, reading.rules, tables[0].name) for series in found])


def tables_beside(paths: Sequence[Path], reading: TrajectoryOptions) -> Tables | None:
    """Return the energies of trajectories of i-PI, from the tables beside them, or None."""
    beside = [property_table_of(path) for path in paths if path.is_file()]
    unique = list(dict.fromkeys(path for path in beside if path is not None))
    if not unique or None in beside:
        return None
    found = read_tables(unique, reading)
    if found is None:
        return None
    told = f"The trajectory has no energies; those of {', '.join(map(str, unique))} are shown."
    return Tables(found.paths, found.series, [told])


def show_tables(tables: Tables, units: Units, show: ShowOptions) -> None:
    """Print, write and draw energies."""
    factor, label = units.energy_factor, units.energy_label
    potential = [series.potential for series in tables.series]
    times = [series.times for series in tables.series]
    rows = [("frames", lengths(times, sum(map(len, potential))))]
    figures: dict[str, Any] = {
        "tables": list(tables.paths),
        **energy_figures(potential, None, None, units),
        "cumulative": [cumulative_mean(each) / factor for each in potential],
        "times": times,
    }
    temperatures = [s.temperatures for s in tables.series if s.temperatures is not None]
    if temperatures:
        mean = pooled_mean(temperatures)
        rows.append(("temperature", with_error(mean, "K")))
        figures["temperature_K"] = mean_figures(mean)
    rows += energy_rows(potential, None, None, units, "replicas")
    slopes = [
        drift(series.times, series.conserved)
        for series in tables.series
        if series.conserved is not None and series.times is not None and len(series.times) >= 3
    ]
    if slopes:
        slope = float(np.mean([each.slope for each in slopes]))
        error = float(np.sqrt(np.sum([each.standard_error**2 for each in slopes]))) / len(slopes)
        spread = float(np.mean([each.spread for each in slopes]))
        rows.append(
            (
                "conserved energy",
                f"drifts by {number(slope / factor)} ± {number(error / factor)} {label}/ps, "
                f"fluctuates by {number(spread / factor)}",
            )
        )
        figures["drift_per_ps"], figures["drift_standard_error"] = slope / factor, error / factor
    watched = _watched(tables)
    for key, name, unit in _WATCHED:
        if key in watched:
            mean = pooled_mean(watched[key])
            largest = max(float(each.max()) for each in watched[key])
            rows.append((name, f"{with_error(mean, unit)}, at most {number(largest)}"))
            figures[key] = {**mean_figures(mean), "largest": largest, "series": watched[key]}
    print_facts(f"Energies of {tables.title}", rows)
    shown = [each / factor for each in potential]
    means = [cumulative_mean(each) for each in shown]
    title = "Potential energy and its cumulative mean"
    panels = [Panel(f"potential energy ({label})", shown, means, title)]
    conserved = [series.conserved for series in tables.series if series.conserved is not None]
    if conserved:
        changes = [(each - each[0]) / factor for each in conserved]
        title = "Conserved energy less that of the first frame"
        panels.append(Panel(f"change ({label})", changes, title=title))
    for key, name, unit in _WATCHED:
        if key in watched:
            panels.append(Panel(f"{name} ({unit})" if unit else name, watched[key]))
    finish(tables, show, figures, lambda title: series_figure(panels, times, title=title))


def _watched(tables: Tables) -> dict[str, list[FloatArray]]:
    """Return what guards computed, where it is known of all frames of all simulations."""
    found = {}
    for key, column in (
        (NOVELTY, [each.novelty for each in tables.series]),
        (FORCE_STD, [each.force_std for each in tables.series]),
    ):
        known = [each for each in column if each is not None and np.isfinite(each).all()]
        if len(known) == len(column):
            found[key] = known
    return found


def _of_dynamics(path: Path) -> list[EnergySeries]:
    """Return the energies of the replicas of ``kraft md``."""
    log = Log.read(path)
    if not np.isfinite(log.potential).all():
        raise DataError(f"{path.name} has no energies: the model was trained without them.")
    found = []
    for replica in np.unique(log.replicas):
        rows = log.replicas == replica
        found.append(
            EnergySeries(
                1e3 * log.times[rows],
                log.potential[rows],
                log.conserved[rows],
                log.temperatures[rows],
                log.novelty[rows],
                log.force_std[rows],
            )
        )
    return found


def _of_ipi(path: Path) -> EnergySeries:
    columns = read_properties(path)
    potential = in_electronvolt(columns, "potential")
    if potential is None:
        raise DataError(
            f"{path.name} has the columns {', '.join(columns)}. Expected one named potential."
        )
    kelvin = columns.get("temperature{kelvin}")
    return EnergySeries(
        in_femtoseconds(columns), potential, in_electronvolt(columns, "conserved"), kelvin
    )


def _chosen(series: EnergySeries, reading: ReadingRules, name: str) -> EnergySeries:
    """Return the frames that were asked for."""
    part = slice(reading.start, reading.stop, reading.every)
    if len(series.potential[part]) == 0:
        raise DataError(f"{name} has no row from number {reading.start} on. Choose others.")
    arrays = {field.name: getattr(series, field.name) for field in dataclasses.fields(series)}
    chosen = {key: array[part] for key, array in arrays.items() if array is not None}
    return dataclasses.replace(series, **chosen)
