"""What commands print: facts in two columns, tables of errors, findings with advice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kraft.analysis.errors import ErrorReport
from kraft.cli.console import err, out
from kraft.data.checks import Report
from kraft.descriptors import feature_function
from kraft.models.parameters import Parameters

_STYLES = {"fatal": "bold red", "warning": "yellow", "note": "cyan"}


def features_of(parameters: Parameters) -> str:
    """Return in words which features a model has.

    For example ``21 of 36 pairs of atoms, 1/r``.
    """
    formula = feature_function(parameters.feature_function).formula
    some = "" if parameters.features is None else f"{parameters.n_features} of "
    return f"{some}{counted(parameters.n_pairs, 'pair')} of atoms, {formula}"


def length_scale_of(parameters: Parameters) -> str:
    """Return the length scale of a model with its unit."""
    unit = feature_function(parameters.feature_function).unit
    if unit == "1/Å":
        unit = "/Å"
    return f"{parameters.length_scale:.4g} {unit}".rstrip()


def print_facts(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Print a title and, below it, names and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(value))
    out.print(Text(title, style="bold"))
    out.print(Padding(table, (0, 0, 0, 2), expand=False))


def print_errors(title: str, report: ErrorReport) -> None:
    """Print the errors of a test; ``report`` is in the units to show."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for heading in ("MAE", "RMSE", "largest", "spread"):
        table.add_column(heading, justify="right")
    table.add_column("")
    rows = [
        (
            "energy",
            (report.energy_mae, report.energy_rmse, report.energy_max, report.energy_spread),
            report.units.energy_label,
        ),
        (
            "forces",
            (report.force_mae, report.force_rmse, report.force_max, report.force_spread),
            report.units.force_label,
        ),
    ]
    for name, values, label in rows:
        if values[0] is not None:
            table.add_row(name, *(number(value) for value in values if value is not None), label)
    out.print(Text(title, style="bold"))
    out.print(Padding(table, (0, 0, 0, 2), expand=False))


def print_notices(notices: Sequence[str], report: Report | None = None) -> None:
    """Print notices, then findings with what to do about them, on standard error."""
    for notice in notices:
        _print_remark("note", notice)
    for finding in report.findings if report is not None else ():
        _print_remark(finding.severity, f"{finding.message} {finding.advice}".strip())


def print_warning(message: str) -> None:
    """Print a warning on standard error."""
    _print_remark("warning", message)


def print_findings(report: Report) -> None:
    """Print findings on standard output, where they are the result."""
    for finding in report.findings:
        text = Text(f"{finding.severity}: ", style=_STYLES[finding.severity])
        text.append(finding.message, style="default not bold")
        out.print(Padding(text, (0, 0, 0, 2), expand=False))
        if finding.advice:
            out.print(Padding(Text(f"→ {finding.advice}", style="dim"), (0, 0, 0, 4), expand=False))


def print_next(*commands: str) -> None:
    """Print what to do next."""
    out.print(Text("Next", style="bold"))
    for command in commands:
        out.print(Text(f"  {command}"), soft_wrap=True)


def number(value: float) -> str:
    """Return a number with four significant digits.

    Examples
    --------
    >>> number(0.123456), number(1234.56), number(1e-12), number(0.0)
    ('0.1235', '1235', '1e-12', '0')
    """
    if value != 0.0 and 1e-4 <= abs(value) < 1e6:
        digits = max(0, 3 - _exponent(value))
        return f"{value:.{digits}f}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Return a time in the unit a person would choose.

    Examples
    --------
    >>> duration(4.2e-5), duration(0.0123), duration(4.56), duration(75), duration(7300)
    ('42 µs', '12 ms', '4.6 s', '1 min 15 s', '2 h 1 min')
    >>> duration(1e6)
    '12 days'
    """
    if seconds < 1e-3:
        return f"{1e6 * seconds:.0f} µs"
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 2 * 86400:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds / 86400:.0f} days"


def counted(amount: int, noun: str) -> str:
    """Return an amount with its noun.

    Examples
    --------
    >>> counted(1, "frame"), counted(6, "frame"), counted(2, "geometry")
    ('1 frame', '6 frames', '2 geometries')
    """
    if amount == 1:
        return f"1 {noun}"
    return f"{amount} {noun[:-1]}ies" if noun.endswith("ry") else f"{amount} {noun}s"


def _exponent(value: float) -> int:
    return int(f"{value:e}".split("e")[1])


def _print_remark(severity: str, message: str) -> None:
    text = Text(f"{severity}: ", style=_STYLES[severity])
    text.append(message, style="default not bold")
    err.print(text, soft_wrap=not err.is_terminal)
