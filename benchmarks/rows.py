"""Benchmarks whose rows are measured and kept one at a time: their options and their loop.

``row_arguments`` makes the options that choose rows, and ``measure_rows`` goes through them: it
leaves out rows that have figures (``--missing``), goes on where a peer or data are absent, and
writes the page after each row. What is measured and how it is rendered are its arguments.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers.environment import PeerError
from reporting import Figures, Page, arguments

Measure = Callable[[str, Page], Figures]
"""Returns the figures of a row, given its name and the page of what is known already."""

Render = Callable[[dict[str, Figures]], str]


class SkippedRowError(RuntimeError):
    """A row cannot be measured here, and that is no failure; the message says why."""


def row_arguments(
    description: str | None, page: str, rows: Collection[str], default: Iterable[str] | None = None
) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks and those that choose rows.

    Parameters
    ----------
    description
        Its first line is shown by ``--help``.
    page
        Name of the page.
    rows
        Names of all rows.
    default
        Names of the rows to measure where none is named; all of them by default.
    """
    parser = arguments(description, page)
    chosen = list(rows if default is None else default)
    parser.add_argument(
        "--row", nargs="+", choices=rows, default=chosen, metavar="ROW", help="see --list"
    )
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    parser.add_argument("--list", action=_ListRows, const=rows, help="name the rows")
    return parser


@contextmanager
def page_file(options: argparse.Namespace) -> Iterator[Path]:
    """Give the page's file; a quick run, which keeps nothing, gets one in a temporary folder."""
    if not options.quick:
        yield options.output
        return
    with tempfile.TemporaryDirectory(prefix="kraft-benchmark-") as folder:
        yield Path(folder) / options.output.name


def measure_rows(
    options: argparse.Namespace, names: Iterable[str], measure: Measure, render: Render
) -> None:
    """Measure rows one after the other and write the page after each; a quick run prints it once.

    Parameters
    ----------
    options
        Those of ``row_arguments``. With ``render`` the page is written and nothing is measured.
    names
        The rows.
    measure
        Measures a row. It may raise ``SkippedRowError``, or ``PeerError`` or ``FileNotFoundError``
        when a peer fails or data are absent: the other rows are measured nevertheless.
    render
        Makes the page's text of the figures of all rows.

    Raises
    ------
    SystemExit
        With status 1, at the end, when a row failed.
    """
    in_memory = _page(options) if options.quick else None
    failed, measured = False, False
    for name in [] if options.render else names:
        page = in_memory or _page(options)
        if options.missing and page.has(name):
            continue
        try:
            figures = measure(name, page)
        except SkippedRowError as reason:
            print(f"{name}: skipped, {reason}", file=sys.stderr, flush=True)
            continue
        except (PeerError, FileNotFoundError) as error:
            failed = True
            print(f"{name}: failed\n{error}", file=sys.stderr, flush=True)
            continue
        page = in_memory or _page(options)  # anew: another run may have written it meanwhile
        page.add(name, figures)
        measured = True
        if in_memory is None:
            page.write(render)
    if in_memory is not None and measured:
        in_memory.write(render)
    if options.render:
        _page(options).write(render)
    if failed:
        raise SystemExit(1)


def _page(options: argparse.Namespace) -> Page:
    return Page(options.output, quick=options.quick, threads=options.threads)


class _ListRows(argparse.Action):
    """Print the names of the rows and end."""

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, nargs=0, default=argparse.SUPPRESS, **others)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print("\n".join(self.const))
        parser.exit()
