"""The page: profiles, structures colored by what the atoms contribute, and shares of parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from plotting import COLORS, DPI, GRAY, LIGHT, save_png
from reporting import Figures, number, table

from kraft.reports.contribution_figures import draw_structure

Rows = dict[str, Figures]


def render(rows: Rows, folder: Path) -> str:
    """Return the page; its plots go into ``folder``."""
    parts = [
        "# Contributions of atoms",
        "",
        "Made by `benchmarks/contributions.py` after paper 000, section III c and figure 5. What "
        "contributions are: [contributions.md](../contributions.md).",
        "",
    ]
    if "stilbene" in rows:
        parts += _stilbene(rows["stilbene"], folder)
    if "cumulene" in rows:
        parts += _cumulene(rows["cumulene"], folder)
    return "\n".join(parts)


def _stilbene(row: Figures, folder: Path) -> list[str]:
    save_png(_stilbene_figure(row), folder / "contributions_stilbene.png")
    errors = row["errors"]
    return [
        "## A donor, a bridge and an acceptor",
        "",
        f"{row['label']}, {len(row['atomic_numbers'])} atoms, {row['theory']}. Frames: normal "
        "modes of the minimum at 300 K (classical; modes below 50 /cm with the amplitude of "
        "50 /cm), then one of four single bonds, drawn at random, turned by any angle. "
        f"{row['n_train']} frames to train on, {row['n_permutations']} symmetries, errors on "
        f"{row['n_test']} other frames: energies {number(errors['energy_mae'])} kcal/mol (of a "
        f"standard deviation of {number(errors['energy_spread'])}), forces "
        f"{number(errors['force_mae'])} kcal/mol/Å ({number(errors['force_spread'])}). "
        f"Kernel {row['kernel']}, length scale {row['length_scale']:.3g} /Å, "
        f"regularization {row['regularization']:.1g}.",
        "",
        "Rotations are rigid, all other distances and angles as in the minimum; for comparison a "
        "change that ought to be local, a C-H bond of a methyl group stretched by 0.1 Å.",
        "",
        "![profiles and contributions](contributions_stilbene.png)",
        "",
        table(
            ("largest change of the energy", "reference", "model", *SPLITS.values()),
            [
                (
                    name,
                    f"{number(case['reference'][case['top']])} kcal/mol",
                    f"{number(case['model'][case['top']])} kcal/mol",
                    *(_spread(case["splits"][split]) for split in SPLITS),
                )
                for name, case in _cases(row).items()
            ],
        ),
        "Of each way to split: how many atoms take part, and the largest part of one atom in "
        f"kcal/mol. *Atoms that take part* are {_PARTICIPATION}.",
        "",
        *_what_it_says(row),
        "Parts of the molecule in that change, in kcal/mol, along the path (the colors above):",
        "",
        table(
            ("part", "atoms", *_cases(row)),
            [
                (name, len(atoms), *(_part(case, atoms) for case in _cases(row).values()))
                for name, atoms in row["parts"].items()
            ],
        ),
        "Contributions add up to the predicted energies and forces to "
        f"{max(case['adds_up_to'] for case in _cases(row).values()):.0e} eV and eV/Å, those along "
        "the paths to the changes of the energy to "
        f"{max(case['path_adds_up_to'] for case in _cases(row).values()):.0e} kcal/mol.",
        "",
        _cost(row),
        "",
    ]


SPLITS = {
    "path": "along the path",
    "pairs": "model, by pairs",
    "coefficients": "model, by coefficients",
}


def _spread(split: Figures) -> str:
    largest = split["largest_change"]
    shown = number(largest, 2) if largest < 1000.0 else f"{largest:.0e}"
    return f"{split['participation']:.1f} atoms, {shown}"


def _what_it_says(row: Figures) -> list[str]:
    worst = max(case["splits"]["coefficients"]["largest_change"] for case in _cases(row).values())
    mild = max(case["splits"]["pairs"]["largest_change"] for case in _cases(row).values())
    turned = max(case["splits"]["pairs"]["participation"] for case in row["rotations"].values())
    stretched = row["stretch"]["splits"]["pairs"]["participation"]
    return [
        "The partial evaluation of paper 003 (*by coefficients*) splits the model into parts of up "
        f"to {worst:.0e} kcal/mol where the energy changes by a few: coefficients are large along "
        "motions that hardly change a distance, and atoms that move together cancel each other. "
        f"Halving the feature coefficients (*by pairs*) leaves {number(mild, 2)} kcal/mol, spread "
        f"over {turned:.0f} atoms for a turn, but over {stretched:.0f} for the stretched C-H bond, "
        "too: such a spread belongs to the expansion, and says little about the chemistry. The "
        "parts along the path are of the size of the change and tell the local change from the "
        "wider one; by them the model reads a turn from the pairs of atoms on both sides of the "
        "turned bond, hardly from the far ends.",
        "",
    ]


_PARTICIPATION = "(Σ|c|)² / Σ c² of the contributions c to the change: 1 for one atom, N for all"


def _cases(row: Figures) -> dict[str, Figures]:
    turned = {f"turn of {bond}": case for bond, case in row["rotations"].items()}
    return {**turned, "stretched C-H bond": row["stretch"]}


def _part(case: Figures, atoms: list[int]) -> str:
    return f"{np.array(case['splits']['path']['changes'])[atoms].sum():.2f}"


def _cost(row: Figures) -> str:
    cost = row["cost"]
    ratios = [cost[name] / cost["predict"] for name in ("energies", "forces")]
    return (
        f"A prediction takes {1e3 * cost['predict']:.1f} ms of processor time a geometry here, "
        f"contributions to the energy {ratios[0]:.1f} times that, contributions to energy and "
        f"forces {ratios[1]:.1f} times (batches of 64, preparation included)."
    )


def _cumulene(row: Figures, folder: Path) -> list[str]:
    save_png(_cumulene_figure(row), folder / "contributions_cumulene.png")
    models = row["models"]
    top = models["global"]["top"]
    lines = []
    for name, model in models.items():
        errors = model["errors"]
        lines.append(
            (
                name,
                model["n_features"],
                f"{number(model['model'][top])} kcal/mol",
                f"{number(errors['energy_mae'])} kcal/mol",
                f"{number(errors['force_mae'])} kcal/mol/Å",
            )
        )
    errors = models["global"]["errors"]
    return [
        "## A torsion that only distant atoms show",
        "",
        f"{row['label']}, {row['theory']}: a rigid torsion of the two CH2 groups at the ends of a "
        f"chain 10 Å long. {row['n_train']} frames to train on, {row['n_test']} to test on, whose "
        f"energies have a standard deviation of {number(errors['energy_spread'])} kcal/mol. No "
        f"distance below {row['reach']:.0f} Å changes, so a model of those alone (*local*) "
        "has the same features everywhere. The four distances that change, between hydrogen "
        "atoms of opposite ends, are "
        f"11 Å and change by 0.1 Å; the global model, whose metric weighs them {row['weight']:.0f} "
        "times as much as the others, learns the torsion from them. (With equal weights the system "
        "is too ill-conditioned for an accurate model: all frames look alike.) Where the reference "
        "has a cusp, at the planar geometry, any smooth function of distances is flat.",
        "",
        "![torsion of the cumulene](contributions_cumulene.png)",
        "",
        table(
            ("model", "features", "energy at the top", "energy MAE", "force MAE"),
            lines,
        ),
        f"At the top, at {row['degrees'][top]:.0f} degrees, the reference is "
        f"{number(row['reference'][top])} kcal/mol above the minimum. "
        f"{models['global']['splits']['path']['participation']:.1f} of "
        f"{len(row['atomic_numbers'])} atoms take part in the global model's change.",
        "",
    ]


def _stilbene_figure(row: Figures) -> Figure:
    cases = list(_cases(row).values())
    figure: Any = Figure(figsize=(12.5, 5.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(cases), height_ratios=(1.0, 0.75))
    titles = ("Turn of the acceptor's side", "Turn of the donor's side", "C-H bond of a methyl")
    for column, (case, title) in enumerate(zip(cases, titles, strict=True)):
        turned = "degrees" in case
        axes = grid[0, column]
        x = case["degrees"] if turned else case["steps"]
        _profile(axes, x, {"GFN2-xTB": case["reference"], "model": case["model"]}, title)
        axes.set_xlabel("angle (degrees)" if turned else "change of the bond length (Å)")
        if turned:
            axes.set_xticks(range(0, 361, 60))
        positions = np.array(row["positions"])  # flat, so that all atoms are seen
        _structure(
            figure, grid[1, column], row, positions, np.array(case["splits"]["path"]["changes"])
        )
    grid[0, 0].set_ylabel("change of the energy (kcal/mol)")
    return figure  # type: ignore[no-any-return]


def _cumulene_figure(row: Figures) -> Figure:
    figure: Any = Figure(figsize=(11.0, 3.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.3))
    models = row["models"]
    curves = {"DFT": row["reference"]}
    curves |= {f"{name} model": model["model"] for name, model in models.items()}
    _profile(left, row["degrees"], curves, "Torsion of a cumulene")
    left.set_xlabel("angle between the ends (degrees)")
    left.set_xticks(range(0, 91, 30))
    left.set_ylabel("change of the energy (kcal/mol)")
    whole = models["global"]
    changes = np.array(whole["splits"]["path"]["changes"])
    _structure(figure, right, row, np.array(row["positions"]), changes)
    return figure  # type: ignore[no-any-return]


def _profile(axes: Any, x: list[float], curves: dict[str, list[float]], title: str) -> None:
    for index, (name, y) in enumerate(curves.items()):
        if index == 0:
            axes.plot(x, y, "o", color=GRAY, markersize=4, label=name)
        else:
            axes.plot(x, y, color=COLORS[index - 1], linewidth=1.8, label=name)
    axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
    axes.grid(color=LIGHT, linewidth=0.6)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)


def _structure(figure: Any, axes: Any, row: Figures, positions: Any, values: Any) -> None:
    numbers = np.array(row["atomic_numbers"])
    colors = draw_structure(axes, numbers, positions, values, numbered=False)
    bar = figure.colorbar(colors, ax=axes, orientation="horizontal", shrink=0.7, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("part in the largest change (kcal/mol)", fontsize=8)
