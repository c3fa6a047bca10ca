"""The page: what the papers found, what was found here, and the plots."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from plotting import save_png
from reporting import Figures, number, table

from . import page_large, page_small
from .figures import FIGURES
from .sections import Rows, image

PAPER_SIZES = {
    "ethanol-md": "paper 002: 0.5 ns (classical)",
    "ethanol-md-dft": "paper 002: not told",
    "ethanol-pimd": "paper 002: 1 ns, 16 beads, 0.2 fs",
    "ethanol-100": "paper 002: not told",
    "malonaldehyde-cc": "paper 002: 0.5 ns (classical)",
    "malonaldehyde-dft": "paper 002: 0.5 ns (classical)",
    "aspirin-cc": "paper 002: 0.5 ns (classical)",
    "aspirin-dft": "paper 002: not told",
    "peptide-full": "paper 003: 1000 to 5000 frames, 3 ns, 0.3 to 0.5 fs",
    "peptide-reduced": "paper 003: 3000 and 5000 frames, 3 ns and 50 ns in 17 runs, 0.3 fs",
    "steered-full": "paper 003: 5000 frames, 30 runs, 0.5 fs",
    "steered-reduced": "paper 003: 5000 frames, 30 runs, 0.5 fs",
    "catcher-md": "paper 000: nanoseconds, 0.2 fs",
    "catcher-pimd": "paper 000: hundreds of ps, 16 beads, 0.2 fs",
}


def page_renderer(folder: Path, arrays: Path) -> Callable[[Rows], str]:
    """Return what makes the page of all rows.

    Parameters
    ----------
    folder
        Where plots go, beside the page.
    arrays
        Folder of the curves of the rows.
    """
    return lambda rows: render(rows, folder, arrays)


def render(rows: Rows, folder: Path, arrays: Path) -> str:
    """Write the plots and return the page."""
    curves = {}
    for name in rows:
        with np.load(arrays / f"{name}.npz") as archive:
            curves[name] = {key: archive[key].astype(np.float64) for key in archive.files}
    shown = {}
    for name, draw in FIGURES.items():
        figure = draw(rows, curves)
        if figure is not None:
            path = folder / f"dynamics_{name}.png"
            save_png(figure, path)
            shown[name] = image(path)
    parts: Iterable[str] = (
        HEAD,
        *page_small.ethanol(rows, shown, curves),
        *page_small.malonaldehyde(rows, shown),
        *page_small.aspirin(rows, shown),
        *page_large.peptide(rows, shown),
        *page_large.catcher(rows, shown),
        *_models(rows),
        *_simulations(rows),
    )
    return "\n".join(parts)


def _models(rows: Rows) -> list[str]:
    found: dict[str, Figures] = {}
    for row in rows.values():
        found |= row["models"]
    header = ("model", "frames", "symmetries", "features", "force MAE", "energy MAE", "s")
    lines = [
        [
            model["case"]["label"],
            f"{model['n_train']} + {model['n_test']}",
            model["n_symmetries"],
            model["n_features"],
            number(model["force_mae"]),
            number(model["energy_mae"]) if "energy_mae" in model else "",
            f"{model['seconds']:.0f}",
        ]
        for model in found.values()
    ]
    return ["## Models", "", table(header, lines), MODELS]


def _simulations(rows: Rows) -> list[str]:
    header = ("row", "what", "ns per day", "stopped", "novelty", "conserved", "minutes", "papers")
    lines = []
    for name, row in rows.items():
        papers = PAPER_SIZES.get(name, "")
        for figures in _runs(row):
            lines.append([name, *_run_cells(figures), papers])
            papers = ""
    return ["## Simulations", "", table(header, lines), SIMULATIONS]


def _runs(row: Figures) -> list[Figures]:
    """Return the figures of all simulations of a row."""
    own = [row[key] for key in ("sampling", "spectral", "quantum") if key in row]
    return own + [row[key]["sampling"] for key in ("pulled", "free") if key in row]


def _run_cells(run: Figures) -> list[str]:
    """Return the cells of one simulation."""
    step, kelvin = f"{run['timestep_fs']:g} fs", f"{run['temperature_K']:g} K"
    before = f", after {run['equilibration_ps']:g} ps" if run["equilibration_ps"] else ""
    novelty = f"{run['novelty_median']:.2f}, {run['novelty_max']:.2f}"
    cost = run["seconds_per_step"]
    speed = number(8.64e-2 * run["timestep_fs"] / cost) if cost else ""
    minutes = f"{cost * run['n_steps'] / 60:.1f}"
    if "beads" in run:
        what = f"{run['beads']} beads, {run['runs']} x {run['length_ps']:g} ps{before}"
        return [f"{what}, {step}, {kelvin}", speed, "", novelty, "", minutes]
    what = f"classical, {run['replicas']} x {run['length_ps']:g} ps{before}"
    drift = f"{1e3 * run['drift_eV_per_atom_ps']:.1g}"
    return [f"{what}, {step}, {kelvin}", speed, str(run["n_stopped"]), novelty, drift, minutes]


HEAD = """\
# Simulations: the papers' experiments redone

Made by `benchmarks/experiments.py` on one core, with the data at hand. Papers are
[002](https://doi.org/10.1038/s41467-018-06169-2) (ethanol, malonaldehyde, aspirin), 003
(tetrapeptide) and 000 (buckyball catcher). Lengths are cut: tens of minutes in place of the papers'
days. *Simulations*, at the end, has every size beside the papers'. Errors are one standard error,
from the spread of independent replicas or, where there are fewer than eight, by blocking; the beads
of a path integral are averaged first. A figure agrees when it is within 0.1 kcal/mol of a barrier,
0.03 of a difference of minima, and 10 /cm of a frequency (50 for the catcher's stretch).
"""

MODELS = """\
Frames are training + test; errors in kcal/mol/Å and kcal/mol. The kernel is that of the papers,
Matérn-5/2, unless told, with fixed length scales and regularizations. Training frames come from
500 K (catcher: 400 K), symmetries from all geometries of the data, without their labels. Energies
of the recovered MD17 sets are no reference energies, so their errors are left out. The seconds are
those of the training, with symmetries and importance of features.
"""

SIMULATIONS = """\
Distributions come from Langevin dynamics (BAOAB, 0.01/fs) started from training geometries; spectra
from velocity rescaling (500 fs) that goes on from its last frames; both from the same PILE-G run
(i-PI, 500 fs for the centroid) with path integrals, started from relaxed geometries. *ns per day*
adds up replicas, not beads. *Stopped* counts replicas that a guard (broken bond, close contact,
temperature) ended. *Novelty* is the median and the maximum over frames: about 1 at the edge of the
training data, an alarm at 2. *Conserved* is the drift of the conserved energy in meV per atom and
ps.
"""
