"""Checks of the frames themselves: values, atoms, distances, copies."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii

from kraft.core.typing import FloatArray, IntArray
from kraft.data.checks.report import Finding
from kraft.data.dataset import Dataset
from kraft.data.geometry import distance_chunks, duplicate_groups, pair_distances
from kraft.data.validity import frame_list, non_finite_frames

_COINCIDENT = 0.1
"""Atoms nearer than this (Å) are in one place: no bond is shorter than 0.7 Å."""

_MAIN_GROUP = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)
"""Elements whose nearest neighbor is at a covalent bond length."""

_BOND_RATIO = (0.72, 1.45)
"""Nearest-neighbor distance over the sum of covalent radii: beyond, the length unit is doubtful."""

_LENGTH_SAMPLE = 50

_SAME_ENERGY = 1e-3
"""Energies of one geometry agree to this (eV)."""


def check_size(dataset: Dataset) -> list[Finding]:
    """Find that there are no frames, or fewer than two atoms (both fatal)."""
    findings = []
    if len(dataset) == 0:
        findings.append(
            Finding("fatal", "no-frames", "The dataset has no frames.", "Give at least one.")
        )
    if dataset.n_atoms < 2:
        findings.append(
            Finding(
                "fatal",
                "single-atom",
                f"The dataset is of {dataset.n_atoms} atom; a force field of interatomic distances "
                "needs at least 2.",
                "Give frames of a molecule.",
            )
        )
    return findings


def check_finite(dataset: Dataset) -> list[Finding]:
    """Find values that are NaN or infinite (fatal)."""
    return [
        Finding(
            "fatal",
            "non-finite",
            f"The {name} are not finite (NaN or infinite) in {frame_list(frames)}.",
            "Remove these frames or repeat their calculations.",
            tuple(frames.tolist()),
        )
        for name, frames in non_finite_frames(dataset).items()
        if len(frames)
    ]


def check_distances(dataset: Dataset) -> list[Finding]:
    """Find atoms in one place (fatal) and bond lengths that fit another length unit (warning)."""
    findings = []
    shortest = np.concatenate([d.min(axis=1) for _, d in distance_chunks(dataset)])
    close = np.flatnonzero(shortest < _COINCIDENT)
    if len(close):
        index = int(close[0])
        first, second = np.triu_indices(dataset.n_atoms, 1)
        pair = int(pair_distances(dataset.positions[index][None], dataset.cell)[0].argmin())
        findings.append(
            Finding(
                "fatal",
                "coincident-atoms",
                f"Atoms nearer than {_COINCIDENT} Å to each other in {frame_list(close)}: in frame "
                f"{index} atoms {first[pair]} and {second[pair]} are {shortest[index]:.2g} Å "
                "apart, where inverse distances diverge.",
                "Remove these frames; if all are concerned, check the length unit.",
                tuple(close.tolist()),
            )
        )
    else:
        findings += _check_length_unit(dataset)
    return findings


def _check_length_unit(dataset: Dataset) -> list[Finding]:
    if np.isin(dataset.atomic_numbers, _MAIN_GROUP).mean() < 0.5:
        return []
    sample = np.unique(np.linspace(0, len(dataset) - 1, _LENGTH_SAMPLE).astype(np.int64))
    ratio = float(np.median(_bond_ratios(dataset, sample)))
    if _BOND_RATIO[0] <= ratio <= _BOND_RATIO[1]:
        return []
    guess = "in bohr" if 1.6 < ratio < 2.2 else "in another unit"
    return [
        Finding(
            "warning",
            "length-unit",
            f"Neighboring atoms are typically {ratio:.2f} times as far apart as covalent bonds, "
            f"with positions read as {dataset.units.length_label}: they may be {guess}.",
            "Check the unit; read again with the right one (--length-unit).",
        )
    ]


def _bond_ratios(dataset: Dataset, frames: IntArray) -> FloatArray:
    """Return nearest-neighbor distances over sums of covalent radii, ``(len(frames), N)``."""
    n_atoms = dataset.n_atoms
    first, second = np.triu_indices(n_atoms, 1)
    radii = covalent_radii[dataset.atomic_numbers]
    scaled = pair_distances(dataset.positions[frames], dataset.cell) / (
        radii[first] + radii[second]
    )
    square = np.full((len(frames), n_atoms, n_atoms), np.inf)
    square[:, first, second] = scaled
    square[:, second, first] = scaled
    nearest: FloatArray = square.min(axis=2)
    return nearest


def check_duplicates(dataset: Dataset) -> tuple[list[Finding], IntArray]:
    """Find frames that are copies of earlier ones (warning).

    Returns
    -------
    findings
        At most one.
    representatives
        ``(B,)``: for each frame the first that is the same geometry.
    """
    representatives = duplicate_groups(dataset)
    copies = np.flatnonzero(representatives != np.arange(len(dataset)))
    if len(copies) == 0:
        return [], representatives
    message = (
        f"{len(copies)} of {len(dataset)} frames are copies of earlier ones, equal in all "
        f"interatomic distances (shifted, rotated or mirrored counts): {frame_list(copies)}."
    )
    advice = (
        "Nothing needs doing: splits leave the copies out, so that no test frame was trained on."
    )
    gap = _energy_gap(dataset, copies, representatives[copies])
    if gap > _SAME_ENERGY:
        units = dataset.units
        message += (
            f" Their energies differ by up to {gap / units.energy_factor:.2g} {units.energy_label}."
        )
        advice = (
            "Find out which of them are right: the same geometry has one energy. Splits keep the "
            "first of each."
        )
    finding = Finding("warning", "duplicate-frames", message, advice, tuple(copies.tolist()))
    return [finding], representatives


def _energy_gap(dataset: Dataset, copies: IntArray, originals: IntArray) -> float:
    """Return the largest energy difference (eV) between a frame and its copy."""
    if dataset.energies is None:
        return 0.0
    return float(np.abs(dataset.energies[copies] - dataset.energies[originals]).max())
