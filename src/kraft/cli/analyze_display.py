"""What the commands of ``kraft analyze`` print, write and draw alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from kraft.analysis.trajectories import (
    BlockedMean,
    BondGraph,
    Frames,
    drift,
    pooled_mean,
    stationarity,
)
from kraft.cli.console import out
from kraft.cli.means import mean_figures, with_error
from kraft.cli.outputs import note_written, write_json
from kraft.cli.summary import counted, number, print_notices, print_warning
from kraft.cli.trajectory_options import Files, ShowOptions
from kraft.core.typing import FloatArray, IntArray
from kraft.data import Units
from kraft.reports.trajectory_figures import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHORTEST_TEST = 40
_TOO_SHORT = "the series is too short to know its error: blocks stay correlated"


def energy_rows(
    potential: Sequence[FloatArray],
    totals: Sequence[FloatArray] | None,
    times: FloatArray | None,
    units: Units,
    meaning: Files,
) -> list[tuple[str, str]]:
    """Return what to print of energies ``(T,)`` in eV of each simulation."""
    factor, label = units.energy_factor, units.energy_label
    mean = pooled_mean(potential)
    pooled = np.concatenate(list(potential))
    rows = [
        ("potential energy", with_error(mean, label, factor)),
        ("fluctuation", f"{number(float(pooled.std()) / factor)} {label}"),
    ]
    if np.isfinite(mean.inefficiency):
        rows.append(("independent", f"every {number(mean.inefficiency)} frames"))
    if len(potential[0]) >= _SHORTEST_TEST:
        rows.append(("stationary", _stationarity_text(potential)))
    if totals is not None and times is not None and len(times) >= 3 and meaning == "replicas":
        slope = drift(times, totals[0])
        rows.append(
            (
                "total energy",
                f"drifts by {number(slope.slope / factor)} ± "
                f"{number(slope.standard_error / factor)} {label}/ps, fluctuates by "
                f"{number(slope.spread / factor)}; constant only without a thermostat",
            )
        )
    return rows


def _stationarity_text(potential: Sequence[FloatArray]) -> str:
    texts = []
    for index, series in enumerate(potential[:8]):
        tested = stationarity(series)
        which = "" if len(potential) == 1 else f"replica {index}: "
        if tested.stationary:
            texts.append(f"{which}yes (first fifth against last half: {tested.z:.1f} errors)")
        elif tested.discard is None:
            texts.append(f"{which}no ({tested.z:.1f} errors); nor is any half of it")
        else:
            texts.append(
                f"{which}no ({tested.z:.1f} errors); without the first "
                f"{100 * tested.discard:.0f} % yes"
            )
    more = len(potential) - len(texts)
    return "; ".join(texts) + (f"; and {more} others" if more else "")


def energy_figures(
    potential: Sequence[FloatArray],
    totals: Sequence[FloatArray] | None,
    times: FloatArray | None,
    units: Units,
) -> dict[str, Any]:
    """Return energies for ``--json`` in ``units``."""
    factor = units.energy_factor
    found: dict[str, Any] = {
        "units": {"energy": units.energy_label},
        "potential": mean_figures(pooled_mean(potential), factor),
        "fluctuation": float(np.concatenate(list(potential)).std()) / factor,
        "stationarity": [
            {"z": tested.z, "p_value": tested.p_value, "discard": tested.discard}
            for tested in map(stationarity, potential)
        ]
        if min(map(len, potential)) >= _SHORTEST_TEST
        else None,
        "drift_per_ps": None,
    }
    if totals is not None and times is not None and len(times) >= 3:
        slope = drift(times, totals[0])
        found["drift_per_ps"] = slope.slope / factor
        found["drift_standard_error"] = slope.standard_error / factor
    return found


class Source(Protocol):
    """What figures are of."""

    @property
    def title(self) -> str:
        """Heading."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """What was assumed."""
        ...


def finish(
    source: Source,
    show: ShowOptions,
    figures: dict[str, Any],
    draw: Callable[[str], Figure],
) -> None:
    """Print what was assumed, write the figures and draw."""
    print_notices(source.notices)
    write_json(show.json, figures)
    if show.plot is not None:
        save_figure(draw(source.title), show.plot)
        note_written(show.plot)
        out.print(f"\nWrote {show.plot}.", soft_wrap=True)


def warn_if_unconverged(means: Sequence[BlockedMean]) -> None:
    """Print a warning where standard errors are not to be trusted."""
    if not all(mean.converged for mean in means if mean.mean > 0.01):
        print_warning(f"{_TOO_SHORT}; the errors shown are too small.")


def lengths(times: Sequence[FloatArray | None], n_frames: int) -> str:
    """Return how many frames there are, and how long that is."""
    parts = [counted(n_frames, "frame")]
    known = [time for time in times if time is not None and len(time) > 1]
    if known:
        total = sum(1e-3 * float(time[-1] - time[0]) for time in known)
        parts.append(f"{number(total)} ps in all" if len(known) > 1 else f"{number(total)} ps")
    return ", ".join(parts)


def formula(first: Frames) -> str:
    """Return the formula of a molecule."""
    symbols = [chemical_symbols[number] for number in first.atomic_numbers]
    return str(Formula.from_list(symbols).format("hill"))


def chosen_atoms(chosen: IntArray, first: Frames) -> str:
    """Return atoms in words."""
    n_atoms = len(first.atomic_numbers)
    if len(chosen) == n_atoms:
        return f"all {n_atoms}"
    names = [f"{chemical_symbols[first.atomic_numbers[atom]]}{atom}" for atom in chosen[:12]]
    more = f" and {len(chosen) - 12} more" if len(chosen) > 12 else ""
    return f"{len(chosen)}: {' '.join(names)}{more}"


def graph_of(first: Frames) -> BondGraph:
    """Return the bonds of a first frame."""
    return BondGraph.of(first.atomic_numbers, first.positions[0], first.cell)
