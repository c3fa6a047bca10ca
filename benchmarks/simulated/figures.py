"""The plots of the page, each from the figures and curves of its rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from plotting import COLORS, GRAY
from reporting import Figures

from .drawing import (
    Array,
    Line,
    bar_of,
    centers,
    curves,
    density_map,
    panels,
    scaled,
    sticks,
    tidy,
    turn,
)

Rows = dict[str, Figures]
Curves = dict[str, dict[str, Array]]
BLUE, RED, GREEN, ORANGE, PURPLE, TEAL = COLORS
DEGREES = "{} (degrees)"
WAVENUMBER = "wavenumber (1/cm)"
LOW, HIGH = (0.0, 1700.0), (2600.0, 4100.0)


def ethanol_profile(rows: Rows, arrays: Curves) -> Figure | None:
    """Energy along the hydroxyl rotor, and the distributions of classical and quantum nuclei."""
    if "ethanol-profile" not in rows:
        return None
    found = arrays["ethanol-profile"]
    figure, (axes, below) = panels(1, 2, 10.0, 3.6)
    names = {"ethanol-cc": ("CCSD(T)", RED), "ethanol-dft": ("PBE+TS", BLUE)}
    for key, (name, color) in names.items():
        x, y = found[f"{key}_angles"], found[f"{key}_energies"]
        curves(axes, [Line(name, x, y, color)])
        axes.plot(found[f"{key}_values"], found[f"{key}_points"], "o", color=color, markersize=2.5)
    turn(axes)
    axes.set_ylim(bottom=0.0)
    tidy(axes, "Relaxed scan", DEGREES.format("hydroxyl dihedral"), "energy (kcal/mol)")
    drawn = (
        ("ethanol-md", "CCSD(T), classical", RED, "-"),
        ("ethanol-pimd", "CCSD(T), path integrals", PURPLE, "-"),
        ("ethanol-md-dft", "PBE+TS, classical", BLUE, "--"),
    )
    for row, name, color, style in drawn:
        if row in rows:
            y, error = arrays[row]["hydroxyl"], arrays[row]["hydroxyl_errors"]
            line = Line(name, centers(y), 100 * y, color, style, 100 * error)
            curves(below, [line])
    turn(below)
    below.set_ylim(bottom=0.0)
    tidy(below, "Distribution at 300 K", DEGREES.format("hydroxyl dihedral"), "% per degree")
    if below.lines:
        below.legend(fontsize=8, frameon=False, loc="upper center")
    below.set_ylim(top=1.45 * below.get_ylim()[1])
    return figure


def ethanol_joint(rows: Rows, arrays: Curves) -> Figure | None:
    """Joint distributions of the two dihedral angles."""
    shown = (
        ("ethanol-md", "CCSD(T), classical"),
        ("ethanol-pimd", "CCSD(T), path integrals"),
        ("ethanol-md-dft", "PBE+TS, classical"),
    )
    return _maps(
        [(name, arrays[row]["joint"]) for row, name in shown if row in rows],
        (360.0, 120.0),
        ("hydroxyl dihedral", "methyl dihedral, folded"),
    )


def ethanol_spectra(rows: Rows, arrays: Curves) -> Figure | None:
    """Spectra at 300 and 100 K beside the harmonic one, and the hydroxyl hydrogen's."""
    lines = (
        ("ethanol-md", "", "300 K, classical", RED),
        ("ethanol-pimd", "", "300 K, path integrals", PURPLE),
        ("ethanol-100", "md_", "100 K, classical", TEAL),
        ("ethanol-100", "pimd_", "100 K, path integrals", GREEN),
        ("ethanol-md-dft", "", "300 K, classical, PBE+TS", BLUE),
    )
    there = [line for line in lines if line[0] in rows]
    if not there:
        return None
    figure, axes = panels(2, 2, 11.0, 1.2 + 1.1 * len(there), width_ratios=(2.2, 1.0))
    parts = (("all", LOW), ("all", HIGH), ("hydroxyl_hydrogen", (100.0, 500.0)))
    for place, (atoms, bounds) in zip((axes[0], axes[1], axes[2]), parts, strict=True):
        _stack(
            place,
            [
                (name, color, arrays[row][f"{head}{atoms}_wavenumbers"],
                 arrays[row][f"{head}{atoms}_intensities"])
                for row, head, name, color in there
            ],
            bounds,
            legend=False,
        )  # fmt: skip
        if "ethanol-profile" in rows:
            modes = arrays["ethanol-profile"]
            what = "hydroxyl" if atoms != "all" else "wavenumbers"
            weights = modes[f"ethanol-cc_trans_{what}"]
            weights = np.ones(len(weights)) if atoms == "all" else weights
            sticks(place, modes["ethanol-cc_trans_wavenumbers"], 0.8 * weights / weights.max())
        place.set_xlim(*bounds)
    tidy(axes[0], "All atoms; sticks: harmonic, Mt", WAVENUMBER, "", legend=False)
    tidy(axes[1], "Stretches", WAVENUMBER, "", legend=False)
    tidy(axes[2], "Hydroxyl hydrogen alone", WAVENUMBER, "", legend=False)
    axes[3].set_visible(False)
    handles, labels = axes[2].get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], fontsize=9, frameon=False, loc="lower right",
        bbox_to_anchor=(0.98, 0.12),
    )  # fmt: skip
    return figure


def pair_maps(molecule: str, names: tuple[str, str]) -> Callable[[Rows, Curves], Figure | None]:
    """Return what draws the joint distributions of a molecule at both levels."""

    def draw(rows: Rows, arrays: Curves) -> Figure | None:
        high = "CCSD(T)" if molecule == "malonaldehyde" else "CCSD"
        maps = []
        for kind, nuclei in (("md", "classical"), ("pimd", "path integrals")):
            for level, label in (("cc", high), ("dft", "PBE+TS")):
                row = f"{molecule}-{level}"
                if row in rows:
                    maps.append((f"{label}, {nuclei}", arrays[row][f"{kind}_joint"]))
        return _maps(maps, (360.0, 360.0), names, columns=2)

    return draw


def pair_spectra(molecule: str) -> Callable[[Rows, Curves], Figure | None]:
    """Return what draws the spectra of a molecule at both levels."""

    def draw(rows: Rows, arrays: Curves) -> Figure | None:
        lines = []
        high = "CCSD(T)" if molecule == "malonaldehyde" else "CCSD"
        for level, label, color in (("cc", high, RED), ("dft", "PBE+TS", BLUE)):
            for kind, nuclei, shade in (
                ("md", "classical", color),
                ("pimd", "path integrals", PURPLE if level == "cc" else TEAL),
            ):
                row = f"{molecule}-{level}"
                if row in rows:
                    found = arrays[row]
                    lines.append(
                        (f"{label}, {nuclei}", shade, found[f"{kind}_wavenumbers"],
                         found[f"{kind}_intensities"])
                    )  # fmt: skip
        if not lines:
            return None
        figure, axes = panels(1, 2, 11.0, 4.2, width_ratios=(2.2, 1.0))
        for place, bounds in zip(axes, (LOW, HIGH), strict=True):
            _stack(place, lines, bounds, legend=place is axes[0])
            place.set_xlim(*bounds)
        tidy(axes[0], "Spectra at 300 K", WAVENUMBER, "")
        tidy(axes[1], "Stretches", WAVENUMBER, "", legend=False)
        return figure

    return draw


def aspirin_ester(rows: Rows, arrays: Curves) -> Figure | None:
    """Energy along the ester's rotor and its distributions."""
    there = [level for level in ("cc", "dft") if f"aspirin-{level}" in rows]
    if not there:
        return None
    figure, (axes, below) = panels(1, 2, 10.0, 3.6)
    label = DEGREES.format("ester dihedral")
    for level in there:
        name, color = ("CCSD", RED) if level == "cc" else ("PBE+TS", BLUE)
        found = arrays[f"aspirin-{level}"]
        curves(axes, [Line(name, found["scan_angles"], found["scan_energies"], color)])
        for kind, nuclei, style in (("md", "classical", "--"), ("pimd", "path integrals", "-")):
            y, error = found[f"{kind}_first"], found[f"{kind}_first_errors"]
            line = Line(f"{name}, {nuclei}", centers(y), 100 * y, color, style, 100 * error)
            curves(below, [line])
    for place in (axes, below):
        turn(place)
        place.set_ylim(bottom=0.0)
    tidy(axes, "Relaxed scan", label, "energy (kcal/mol)")
    tidy(below, "Distribution at 300 K", label, "% per degree")
    return figure


def peptide_maps(rows: Rows, arrays: Curves) -> Figure | None:
    """Ramachandran maps of the central residue: data, full and reduced descriptor."""
    maps = []
    for kind in ("full", "reduced"):
        row = f"peptide-{kind}"
        if row in rows:
            if not maps:
                maps.append(("data, GFN2-xTB, 500 K", arrays[row]["ramachandran_data"]))
            maps.append((f"{kind} descriptor, 300 K", arrays[row]["ramachandran"]))
    return _maps(maps, (360.0, 360.0), ("phi", "psi"), columns=3)


def unfolding(rows: Rows, arrays: Curves) -> Figure | None:
    """Radius of gyration and distance of the ends, pulled and free."""
    there = [kind for kind in ("full", "reduced") if f"steered-{kind}" in rows]
    if not there:
        return None
    figure, axes = panels(1, 2, 10.0, 3.6)
    for kind in there:
        found = arrays[f"steered-{kind}"]
        for what, style in (("pulled", "-"), ("free", ":")):
            color = {"full": RED, "reduced": BLUE}[kind]
            name = f"{kind}, {'10 pN' if what == 'pulled' else 'no force'}"
            times = found[f"{what}_times"]
            for place, quantity in zip(axes, ("radius", "distance"), strict=True):
                y, error = found[f"{what}_{quantity}"], 0.5 * found[f"{what}_{quantity}_error"]
                curves(place, [Line(name, times, y, color, style, error)])
    axes[0].axhline(3.8, color=GRAY, linewidth=0.8, linestyle=":")
    tidy(axes[0], "Radius of gyration, band: one standard error", "time (fs)", "Å")
    tidy(axes[1], "Distance of the terminal carbons", "time (fs)", "Å")
    return figure


def catcher_motion(rows: Rows, arrays: Curves) -> Figure | None:
    """Deviation from the start, rotation of the ball, cumulative energy."""
    there = [kind for kind in ("md", "pimd") if f"catcher-{kind}" in rows]
    if not there:
        return None
    figure, axes = panels(1, 3, 13.0, 3.4)
    names = {"md": ("classical", RED), "pimd": ("path integrals", PURPLE)}
    for kind in there:
        found = arrays[f"catcher-{kind}"]
        name, color = names[kind]
        for place, key in zip(axes, ("rmsd", "rotation", "cumulative"), strict=True):
            for number, series in enumerate(found[key]):
                times = _times(found["times"], len(series))
                curves(place, [Line(name if number == 0 else "", times, series, color, width=0.9)])
    axes[2].axhline(0.0, color=GRAY, linewidth=0.8, linestyle=":")
    tidy(axes[0], "RMSD to the start", "time (ps)", "Å")
    tidy(axes[1], "Rotation of the ball, Φ", "time (ps)", "degrees")
    tidy(axes[2], "Cumulative potential energy less its end", "time (ps)", "kcal/mol")
    return figure


def catcher_spectra(rows: Rows, arrays: Curves) -> Figure | None:
    """Spectra of the catcher."""
    names = {"md": ("classical", RED), "pimd": ("path integrals, centroid", PURPLE)}
    there = [kind for kind in names if f"catcher-{kind}" in rows]
    if not there:
        return None
    figure, axes = panels(1, 2, 11.0, 3.6, width_ratios=(2.2, 1.0))
    for place, atoms, bounds in ((axes[0], "all", (0.0, 1800.0)), (axes[1], "hydrogen", HIGH)):
        lines = [
            (*names[kind], arrays[f"catcher-{kind}"][f"{atoms}_wavenumbers"],
             arrays[f"catcher-{kind}"][f"{atoms}_intensities"])
            for kind in there
        ]  # fmt: skip
        _stack(place, lines, bounds, legend=place is axes[0])
        place.set_xlim(*bounds)
    axes[1].set_xlim(2700.0, 3500.0)
    tidy(axes[0], "All atoms", WAVENUMBER, "")
    tidy(axes[1], "Hydrogen: C-H stretch", WAVENUMBER, "", legend=False)
    return figure


def _maps(
    maps: list[tuple[str, Array]],
    periods: tuple[float, float],
    names: tuple[str, str],
    columns: int = 3,
) -> Figure | None:
    if not maps:
        return None
    columns = min(columns, len(maps))
    rows = -(-len(maps) // columns)
    figure, axes = panels(
        rows, columns, 0.8 + 3.6 * columns, 0.3 + 3.2 * rows, sharex=True, sharey=True
    )
    for number, (place, (title, density)) in enumerate(zip(axes, maps, strict=False)):
        mesh = density_map(place, np.asarray(density, np.float64), periods)
        last = number >= len(maps) - columns
        tidy(
            place,
            title,
            DEGREES.format(names[0]) if last else "",
            DEGREES.format(names[1]) if number % columns == 0 else "",
        )
        place.grid(visible=False)
    for place in axes[len(maps) :]:
        place.set_visible(False)
    bar_of(figure, mesh, axes)
    return figure


def _stack(
    axes: object,
    lines: list[tuple[str, str, Array, Array]],
    bounds: tuple[float, float],
    *,
    legend: bool,
) -> None:
    """Draw spectra above each other, each with its highest point inside the bounds as one."""
    for level, (name, color, x, y) in enumerate(lines):
        part, heights = scaled(x, y, *bounds)
        base = 1.05 * level
        axes.fill_between(part, base, base + heights, color=color, alpha=0.15, linewidth=0)
        axes.plot(part, base + heights, color=color, linewidth=1.1, label=name)
    axes.set_yticks([])
    if legend:
        axes.legend(fontsize=8, frameon=False, reverse=True)


def _times(times: Array, n: int) -> Array:
    """Return ``n`` times over the same span: energies come at other intervals."""
    return times if len(times) == n else np.linspace(0.0, float(times[-1]), n)


FIGURES: dict[str, Callable[[Rows, Curves], Figure | None]] = {
    "ethanol_profile": ethanol_profile,
    "ethanol_joint": ethanol_joint,
    "ethanol_spectra": ethanol_spectra,
    "malonaldehyde_joint": pair_maps("malonaldehyde", ("first O-C-C-C", "second O-C-C-C")),
    "malonaldehyde_spectra": pair_spectra("malonaldehyde"),
    "aspirin_ester": aspirin_ester,
    "aspirin_joint": pair_maps("aspirin", ("ester dihedral", "acid dihedral")),
    "aspirin_spectra": pair_spectra("aspirin"),
    "peptide_ramachandran": peptide_maps,
    "peptide_unfolding": unfolding,
    "catcher_motion": catcher_motion,
    "catcher_spectra": catcher_spectra,
}
