"""Contributions of atoms to predictions, as ``kraft predict`` computes, shows and draws them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase.data import chemical_symbols
from cyclopts import Group, Parameter

from kraft.analysis.contributions import (
    AtomContributions,
    Partition,
    atom_contributions,
    energy_shares,
    participation,
)
from kraft.cli.options import Flag
from kraft.cli.outputs import check_plot, note_written
from kraft.cli.summary import number
from kraft.core.progress import Progress
from kraft.core.typing import FloatArray, IntArray
from kraft.data.frame_contributions import FrameContributions
from kraft.data.geometry_format import Geometries
from kraft.data.units import Units
from kraft.models import ForceField
from kraft.reports.contribution_figures import contributions_figure, save_figure

CONTRIBUTION_GROUP = Group("Contributions of atoms", sort_key=49)

_BATCH_BYTES = 256 * 2**20
_N_NAMED = 5


@Parameter(name="*", group=CONTRIBUTION_GROUP)
@dataclass(frozen=True)
class ContributionFlags:
    """Whether predictions are split by atoms."""

    contributions: Annotated[
        bool, Flag, Parameter(help="What each atom contributes to energies and forces, too.")
    ] = False
    partition: Annotated[
        Partition,
        Parameter(
            help=(
                "How the model is split: pairs, every feature half to either atom; coefficients, "
                "by the training forces."
            )
        ),
    ] = "pairs"
    plot: Annotated[
        Path | None,
        Parameter(help="Figure of the contributions to energies: .png, .pdf or .svg."),
    ] = None

    @property
    def wanted(self) -> bool:
        """Whether contributions were asked for, by themselves, by how, or by their figure."""
        return self != type(self)()

    def check(self, *, overwrite: bool) -> None:
        """Make sure that the figure can be written."""
        check_plot(self.plot, overwrite=overwrite)


def frame_contributions(
    force_field: ForceField,
    positions: FloatArray,
    partition: Partition,
    *,
    keep_forces: bool,
    progress: Progress,
) -> FrameContributions:
    """Return contributions at ``(B, N, 3)``; those to forces as norms unless they are kept."""

    def split(some: FloatArray) -> AtomContributions:
        return atom_contributions(force_field, some, partition=partition, progress=progress)

    n_geometries, n_atoms, _ = positions.shape
    batch = n_geometries if keep_forces else max(1, _BATCH_BYTES // (24 * n_atoms**2))
    parts = [split(positions[start : start + batch]) for start in range(0, n_geometries, batch)]
    return FrameContributions(
        np.concatenate([part.energies for part in parts]),
        np.concatenate([part.strengths for part in parts]),
        parts[0].energy_offset,
        parts[0].forces if keep_forces else None,
    )


def contribution_facts(
    contributions: FrameContributions, atomic_numbers: IntArray, units: Units
) -> list[tuple[str, str]]:
    """Return what to tell: who shares in the changes of the energy, or the energy of one frame."""
    shares = _shares(contributions)
    if shares is None:
        energies = contributions.energies[0] / units.energy_factor
        told = [f"{number(float(energies[atom]))}" for atom in _largest(energies)]
        return [
            (
                "contributions",
                f"{_listed(energies, told, atomic_numbers)} {units.energy_label}, "
                f"spread over {participation(energies):.1f} of {len(energies)} atoms",
            )
        ]
    told = [f"{100 * shares[atom]:.1f} %" for atom in _largest(shares)]
    return [
        (
            "energy shares",
            f"{_listed(shares, told, atomic_numbers)}; "
            f"spread over {participation(shares):.1f} of {len(shares)} atoms",
        )
    ]


def contribution_figures(contributions: FrameContributions, units: Units) -> dict[str, Any]:
    """Return the figures for programs."""
    shares = _shares(contributions)
    return {
        "energy_shares": shares,
        "participation": None if shares is None else participation(shares),
        "energy_contributions_mean": contributions.energies.mean(axis=0) / units.energy_factor,
        "force_contributions_mean": contributions.strengths.mean(axis=0) / units.force_factor,
    }


def draw_contributions(
    path: Path, contributions: FrameContributions, frames: Geometries, units: Units, title: str
) -> None:
    """Write the figure."""
    shares = _shares(contributions)
    if shares is None:
        values = contributions.energies[0] / units.energy_factor
        label = f"contribution to the energy ({units.energy_label})"
    else:
        values, label = 100.0 * shares, "share of the changes of the energy (%)"
    figure = contributions_figure(
        frames.atomic_numbers, frames.positions[0], values, label=label, title=title
    )
    save_figure(figure, path)
    note_written(path)


def _shares(contributions: FrameContributions) -> FloatArray | None:
    """Return the shares of the atoms; None where there is one energy only."""
    totals = contributions.energies.sum(axis=1)
    if len(totals) < 2 or np.ptp(totals) == 0.0:
        return None
    return energy_shares(contributions.energies)


def _largest(values: FloatArray) -> IntArray:
    order: IntArray = np.argsort(-np.abs(values), kind="stable")[:_N_NAMED]
    return order


def _listed(values: FloatArray, told: list[str], atomic_numbers: IntArray) -> str:
    """Return the largest values with their atoms, counted from 0."""
    atoms = _largest(values)
    names = [f"{chemical_symbols[atomic_numbers[atom]]}{atom}" for atom in atoms]
    return ", ".join(f"{name} {value}" for name, value in zip(names, told, strict=True))
