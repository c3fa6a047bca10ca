"""Ethanol, malonaldehyde, aspirin."""

from __future__ import annotations

from typing import Any

import ase.units
import numpy as np
from numpy.typing import NDArray
from reporting import Figures, number, table

from .bands import TORSION
from .models import KCAL
from .sections import Rows, Shown, agree, comparison, percent, plots

Array = NDArray[np.float64]
Curves = dict[str, dict[str, Array]]

BARRIER = 0.1
"""kcal/mol within which a barrier counts as the paper's."""
LINE = 10.0
"""1/cm within which a frequency counts as the paper's."""

BAND = "hydroxyl hydrogen between 120 and 340 /cm, {}: mean, 1/cm"
PAPER_BARRIERS = (("Mt", "Mg", 1.18), ("Mg", "Mg", 1.19), ("Mg", "Mt", 1.07))


def ethanol(rows: Rows, shown: Shown, curves: Curves) -> list[str]:
    """Return ethanol's section."""
    names = ("ethanol-profile", "ethanol-md", "ethanol-pimd", "ethanol-100", "ethanol-md-dft")
    if not any(name in rows for name in names):
        return []
    lines: list[list[str]] = []
    if "ethanol-profile" in rows:
        lines += _profile(rows["ethanol-profile"])
    lines += _torsion(rows)
    parts = ["## Ethanol", "", *plots(shown, "ethanol_profile"), *comparison(lines)]
    parts += _occupations(rows, curves)
    parts += plots(shown, "ethanol_joint", "ethanol_spectra")
    return [*parts, ETHANOL]


def _profile(row: Figures) -> list[list[str]]:
    """Compare barriers and the difference of the minima."""
    lines = []
    high, low = row["scans"]["ethanol-cc"], row["scans"]["ethanol-dft"]
    other = row["scans"].get("ethanol-cc-gaussian")
    for start, end, paper in PAPER_BARRIERS:
        ours = _barrier(high, start, end)
        if ours is not None:
            what = f"barrier {start} → {end}, CCSD(T), kcal/mol"
            also = "" if other is None else _also(_barrier(other, start, end), 2)
            lines.append([what, f"{paper:g}", f"{ours:.2f}{also}", agree(ours, paper, BARRIER)])
    for name, scan, paper in (("CCSD(T)", high, 0.08), ("PBE+TS", low, -0.08)):
        ours = _gauche(scan)
        what = f"Mg above Mt, {name}, kcal/mol"
        also = _also(_gauche(other), 2) if other is not None and scan is high else ""
        lines.append([what, f"{paper:g}", f"{ours:.2f}{also}", agree(ours, paper, 0.03)])
    ours = _lowest(row, "ethanol-cc trans")
    also = "" if other is None else _also(_lowest(row, "ethanol-cc-gaussian trans"), 1)
    what = "lowest harmonic mode at Mt (hydroxyl torsion), CCSD(T), 1/cm"
    lines.append([what, "243.7", f"{ours:.1f}{also}", agree(ours, 243.7, LINE)])
    return lines


def _lowest(row: Figures, name: str) -> float:
    """Return the lowest harmonic wavenumber."""
    return min(w for w in row["harmonic"][name]["wavenumbers"] if w > 0.0)


def _also(value: float | None, digits: int) -> str:
    """Return what the model with the other kernel says."""
    return "" if value is None else f" (Gaussian kernel: {value:.{digits}f})"


def _barrier(scan: Figures, start: str, end: str) -> float | None:
    """Return the mean barrier between two kinds of minima."""
    found = []
    for each in scan["barriers"]:
        ends = (_kind(each["from"]), _kind(each["to"]))
        if ends == (start, end):
            found.append(each["forward"])
        if ends == (end, start):
            found.append(each["reverse"])
    return float(np.mean(found)) if found else None


def _kind(angle: float) -> str:
    return "Mt" if abs(angle) > 120.0 else "Mg"


def _gauche(scan: Figures) -> float:
    """Return the energy of Mg above that of Mt."""
    energies: dict[str, float] = {}
    for angle, energy in scan["minima"]:
        kind = _kind(angle)
        energies[kind] = min(energy, energies.get(kind, np.inf))
    return energies.get("Mg", np.nan) - energies.get("Mt", np.nan)


def _torsion(rows: Rows) -> list[list[str]]:
    """Compare where the band of the hydroxyl torsion is."""
    lines: list[list[str]] = []
    if "ethanol-profile" in rows:
        for kind, label in (("trans", "Mt"), ("gauche", "Mg")):
            modes = rows["ethanol-profile"]["harmonic"][f"ethanol-cc {kind}"]
            lines.append([BAND.format(f"harmonic, {label}"), "", _harmonic_band(modes), ""])
    places: list[tuple[str, Any, str]] = [
        ("300 K, path integrals", _band(rows, "ethanol-pimd"), "about 215"),
        ("300 K, classical", _band(rows, "ethanol-md"), ""),
        ("100 K, path integrals", _band(rows, "ethanol-100", "pimd"), "between"),
        ("100 K, classical", _band(rows, "ethanol-100", "md"), ""),
        ("300 K, classical, PBE+TS", _band(rows, "ethanol-md-dft"), ""),
    ]
    for name, band, paper in places:
        if band is not None:
            verdict = agree(band[0], 215.0, LINE) if paper.startswith("about") else ""
            lines.append(
                [BAND.format(name), paper, f"{band[1]:.0f}, highest at {band[0]:.0f}", verdict]
            )
    return lines


def _harmonic_band(modes: Figures) -> str:
    """Return the mean of the modes inside the band by the share of the hydrogen, and the modes."""
    pairs = [
        (place, share)
        for place, share in zip(modes["wavenumbers"], modes["hydroxyl_shares"], strict=True)
        if TORSION[0] <= place <= TORSION[1]
    ]
    total = sum(share for _, share in pairs)
    mean = sum(place * share for place, share in pairs) / total
    return f"{mean:.0f}, modes " + " and ".join(
        f"{place:.0f} ({100 * share / total:.0f} %)" for place, share in pairs
    )


def _band(rows: Rows, name: str, part: str | None = None) -> list[float] | None:
    if name not in rows:
        return None
    row = rows[name] if part is None else rows[name][part]
    band: list[float] | None = row["hydroxyl_spectrum"]["torsion"]
    return band


def _occupations(rows: Rows, curves: Curves) -> list[str]:
    """Return the table of occupations, with those that the relaxed profile alone would give."""
    names = {
        "ethanol-md": "CCSD(T), classical",
        "ethanol-pimd": "CCSD(T), path integrals",
        "ethanol-md-dft": "PBE+TS, classical",
    }
    lines = []
    for key, label in (("cc", "CCSD(T)"), ("dft", "PBE+TS")):
        if "ethanol-profile" in rows:
            found = curves["ethanol-profile"]
            trans = _boltzmann(found[f"ethanol-{key}_angles"], found[f"ethanol-{key}_energies"])
            half = f"{50 * (1 - trans):.1f} %"
            cells = [f"{100 * trans:.1f} %", half, half, f"{100 * (1 - trans):.1f} %", ""]
            lines.append([f"{label}, Boltzmann factors of the relaxed scan", *cells])
    for name, label in names.items():
        if name in rows:
            row = rows[name]
            shares = [percent(row["shares"][key]) for key in ("Mt", "Mg+", "Mg-", "Mg")]
            lines.append([label, *shares, str(row["transitions"])])
    if not lines:
        return []
    header = ("300 K", "Mt", "Mg+", "Mg-", "both Mg", "transitions seen")
    return ["Occupations of the minima of the hydroxyl rotor:", "", table(header, lines)]


def _boltzmann(angles: Array, energies: Array) -> float:
    """Return the share of Mt that energies in kcal/mol along the angle give at 300 K."""
    factors = np.exp(-(energies - energies.min()) / (KCAL * ase.units.kB * 300.0))
    return float(factors[np.abs(angles) > 120.0].sum() / factors.sum())


def malonaldehyde(rows: Rows, shown: Shown) -> list[str]:
    """Return malonaldehyde's section."""
    if not any(name.startswith("malonaldehyde") for name in rows):
        return []
    lines = []
    for level, label in (("cc", "CCSD(T)"), ("dft", "PBE+TS")):
        name = f"malonaldehyde-{level}"
        if name not in rows:
            continue
        row = rows[name]
        high = [f for f in row["minima"] if min(map(abs, f["angles"])) > 60.0]
        gap = f"{min(f['energy'] for f in high):.2f}" if high else "no minimum"
        shares = [percent(row[kind]["middle"]) for kind in ("md", "pimd")]
        lines.append([label, gap, *shares, *(_peaks(row[k]["spectrum"]) for k in ("md", "pimd"))])
    header = (
        *("level", "structure (1) above (2), kcal/mol", "(1), classical", "(1), path integrals"),
        *("peaks below 1000 /cm, classical", "path integrals"),
    )
    compared = []
    if {"malonaldehyde-cc", "malonaldehyde-dft"} <= set(rows):
        for kind, nuclei in (("md", "classical"), ("pimd", "path integrals")):
            high, low = (rows[f"malonaldehyde-{level}"][kind]["middle"] for level in ("cc", "dft"))
            what = f"visits of (1), CCSD(T) over PBE+TS, {nuclei}"
            compared.append([what, "more; nearly none with DFT", *_more(high, low)])
    return [
        "## Malonaldehyde",
        "",
        *comparison(compared),
        table(header, lines),
        *plots(shown, "malonaldehyde_joint", "malonaldehyde_spectra"),
        MALONALDEHYDE,
    ]


def _more(first: Figures, second: Figures) -> tuple[str, str]:
    """Return by how much the first is larger, and whether that is more than two errors."""
    gap = first["mean"] - second["mean"]
    error = float(np.hypot(first["error"], second["error"]))
    verdict = "yes" if gap > 2.0 * error else "no" if gap < -2.0 * error else "not resolved"
    if second["mean"] > 0.0:
        return f"{first['mean'] / second['mean']:.1f} times ({gap / error:+.1f} errors)", verdict
    return f"only with the first ({gap / error:+.1f} errors)", verdict


def _peaks(spectrum: Figures) -> str:
    return ", ".join(f"{peak:.0f}" for peak in sorted(spectrum["peaks"]) if 30.0 < peak < 1000.0)


def aspirin(rows: Rows, shown: Shown) -> list[str]:
    """Return aspirin's section."""
    there = [level for level in ("cc", "dft") if f"aspirin-{level}" in rows]
    if not there:
        return []
    lines, tops = [], {}
    for level in there:
        row = rows[f"aspirin-{level}"]
        label = "CCSD" if level == "cc" else "PBE+TS"
        minima = "; ".join(f"{a:.0f}° {e:.2f}" for a, e in row["scan"]["minima"])
        barriers = row["scan"]["barriers"]
        tops[level] = max(each["forward"] for each in barriers)
        heights = "; ".join(f"{each['top']:.0f}° {each['forward']:.2f}" for each in barriers)
        shares = [_degrees(row[kind]["width"]) for kind in ("md", "pimd")]
        lines.append([label, minima, heights, *shares])
    header = (
        *("level", "minima of the ester dihedral, kcal/mol", "tops over the minimum before"),
        *("spread of the angle, classical", "path integrals"),
    )
    parts = ["## Aspirin", "", *plots(shown, "aspirin_ester"), table(header, lines)]
    if len(tops) == 2:
        difference = tops["cc"] - tops["dft"]
        what = "highest barrier, CCSD less PBE+TS, kcal/mol"
        compared = [[what, "about 1", number(difference), agree(difference, 1.0, 0.5)]]
        for kind, nuclei in (("md", "classical"), ("pimd", "path integrals")):
            low, high = (rows[f"aspirin-{level}"][kind]["width"] for level in ("dft", "cc"))
            what = f"spread of the angle, PBE+TS over CCSD, {nuclei}"
            compared.append([what, "more", *_more(low, high)])
        parts += comparison(compared)
    return [*parts, *plots(shown, "aspirin_joint", "aspirin_spectra"), ASPIRIN]


def _degrees(width: Figures) -> str:
    error = f" ± {width['error']:.1f}" if np.isfinite(width["error"]) else ""
    return f"{width['mean']:.1f}{error}°"


ETHANOL = """\
**The paper** (002, figure 3) finds trans (Mt) below gauche (Mg) with CCSD(T) and above it with
PBE+TS, barriers of 1.1 to 1.2 kcal/mol, and a hydroxyl torsion that the temperature takes from the
harmonic 243.7 to about 215 /cm. Its occupations stand in the figure, not in the text.
"""

MALONALDEHYDE = """\
**The paper** (002, figure 4a) sees two mirror-symmetric global minima with a low barrier between
them, structure (2), and two local minima, structure (1), which the CCSD(T) model visits and the DFT
model hardly does; the spectra differ most between the two peaks about 500 /cm. Here a frame counts
as (1) when both O-C-C-C angles are beyond 60 degrees. Both sets hold the same 1000 geometries; the
DFT forces are those of a published model.
"""

ASPIRIN = """\
**The paper** (002, figure 4b) finds the CCSD model in its global minimum and the DFT model spread
out, because correlation raises the barriers along the ester dihedral (C-C-O-C) by about 1 kcal/mol,
and softer vibrations with DFT. The spread is the exponential of the entropy of the angle's
distribution, mirror images folded: 180 degrees for a free rotor. Its error is a jackknife over
runs. Energies of the scans are relaxed at each angle; the distributions follow the free energy of
all other motions, too.
"""
