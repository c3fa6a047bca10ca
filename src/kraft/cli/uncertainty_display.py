"""What commands tell about uncertainty: tables for people, figures for programs."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kraft.analysis.calibration import LEVELS, QuantityCalibration, UncertaintyReport
from kraft.cli.console import out
from kraft.cli.summary import counted, number, print_notices
from kraft.models import Calibration, ForceField
from kraft.models.uncertainty.base import UncertaintyModel

_METRICS = ("coverage", "length", "sharpness", "miscal.", "NLL", "ranks")


def print_intervals(force_field: ForceField, report: UncertaintyReport) -> None:
    """Print how predicted uncertainties compare with errors; ``report`` is in the units to show."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in _METRICS:
        table.add_column(heading, justify="right")
    table.add_column("")
    shares = Table(box=None, pad_edge=False, header_style="dim")
    shares.add_column("")
    for level in LEVELS:
        shares.add_column(f"{100 * level:.0f} %", justify="right")
    for name, quantity, label in _quantities(report):
        table.add_row(name, *_metrics(quantity), label)
        shares.add_row(name, *(percent(share) for share in quantity.coverage))
    out.print(Text(f"95 % intervals ({how(force_field, report)})", style="bold"))
    out.print(Padding(table, (0, 0, 0, 2), expand=False))
    out.print(Text("Share of the reference values inside the intervals of a level", style="bold"))
    out.print(Padding(shares, (0, 0, 0, 2), expand=False))


def how(force_field: ForceField, report: UncertaintyReport) -> str:
    """Return in words which uncertainty it is, and whether it is calibrated."""
    kind = report.method
    if report.direction != report.method:
        kind = f"{kind}: {report.direction}"
    calibration = force_field.calibration
    if calibration is None or not report.calibrated:
        return f"{kind}, not calibrated"
    return f"{kind}, calibrated on {counted(calibration.n_geometries, 'frame')}"


def note_uncertainty(model: UncertaintyModel, calibration: Calibration | None) -> None:
    """Say what the standard deviations are, and where a calibration does not belong to them."""
    notices = [model.description]
    if calibration is not None and calibration.method != model.method:
        notices.append(
            f"The model's calibration is for the method {calibration.method}, not for "
            f"{model.method}, and was not applied; `kraft calibrate` makes another."
        )
    if calibration is not None and calibration.energies is None:
        notices.append(
            "The calibration had no energies to go by: standard deviations of energies are not "
            "calibrated."
        )
    print_notices(notices)


def calibration_facts(calibration: Calibration) -> list[tuple[str, str]]:
    """Return what a calibration did, one row for each quantity."""
    rows = [
        (
            "forces",
            calibration.forces,
            calibration.forces_coverage,
            calibration.forces_coverage_after,
        )
    ]
    if (
        calibration.energies is not None
        and calibration.energies_coverage is not None
        and calibration.energies_coverage_after is not None
    ):
        rows.insert(
            0,
            (
                "energies",
                calibration.energies,
                calibration.energies_coverage,
                calibration.energies_coverage_after,
            ),
        )
    return [
        (
            f"intervals, {name}",
            f"95 % ones covered {percent(before)}, now {percent(after)} "
            f"(std times {number(factor)})",
        )
        for name, factor, before, after in rows
    ]


def calibration_figures(calibration: Calibration | None) -> dict[str, Any] | None:
    """Return a calibration for ``--json``."""
    return None if calibration is None else dataclasses.asdict(calibration)


def uncertainty_figures(report: UncertaintyReport) -> dict[str, Any]:
    """Return the figures of a test of uncertainty for ``--json``, in the units of the report."""
    return {
        "method": report.method,
        "direction": report.direction,
        "description": report.description,
        "calibrated": report.calibrated,
        "levels": LEVELS,
        "forces": _quantity_figures(report.forces),
        "energies": None if report.energies is None else _quantity_figures(report.energies),
    }


def percent(share: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.9512)
    '95.1 %'
    """
    return f"{100 * share:.1f} %"


def _quantities(report: UncertaintyReport) -> list[tuple[str, QuantityCalibration, str]]:
    rows = [("forces", report.forces, report.units.force_label)]
    if report.energies is not None:
        rows.insert(0, ("energy", report.energies, report.units.energy_label))
    return rows


def _metrics(quantity: QuantityCalibration) -> tuple[str, ...]:
    return (
        percent(quantity.interval_coverage),
        number(quantity.interval_length),
        number(quantity.sharpness),
        percent(quantity.miscalibration),
        number(quantity.nll),
        f"{quantity.rank_correlation:.2f}",
    )


def _quantity_figures(quantity: QuantityCalibration) -> dict[str, Any]:
    figures = dataclasses.asdict(quantity)
    for name in ("geometry_std", "geometry_error"):
        del figures[name]
    return {"interval_coverage": quantity.interval_coverage, **figures}
