"""Measure atomized force fields: errors, intervals, time and memory beside sGDML and the paper.

Every row is measured on its own and kept in ``aff.json`` beside ``docs/benchmarks/aff.md``.

    python benchmarks/aff.py --row glucose aspirin
    python benchmarks/aff.py --missing
    python benchmarks/aff.py --render
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from atomized.cases import CASES, QUICK
from atomized.measure import measure
from atomized.page import page_renderer
from peers.environment import PeerError
from reporting import Page, arguments


def main() -> None:
    parser = arguments(__doc__, "aff")
    parser.add_argument("--row", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    parser.add_argument("--list", action="store_true", help="name the rows")
    options = parser.parse_args()
    if options.list:
        print("\n".join(CASES))
        return
    if options.quick:
        _quick(options)
        return
    failed = False
    for name in [] if options.render else options.row:
        if options.missing and _page(options).has(name):
            continue
        try:
            figures = measure(CASES[name], options.data, threads=options.threads)
        except (PeerError, FileNotFoundError) as error:
            failed = True
            print(f"{name}: failed\n{error}", file=sys.stderr, flush=True)
            continue
        page = _page(options)  # only now: another run may have written it meanwhile
        page.add(name, figures)
        page.write(page_renderer(options.output))
    if options.render:
        _page(options).write(page_renderer(options.output))
    if failed:
        raise SystemExit(1)


def _quick(options: argparse.Namespace) -> None:
    """Measure a few tiny rows and print their page; keep nothing."""
    page = Page(options.output, quick=True, threads=options.threads)
    for name in QUICK:
        page.add(name, measure(CASES[name].quick(), options.data, threads=options.threads))
    with tempfile.TemporaryDirectory() as folder:
        page.write(page_renderer(Path(folder) / "aff.md"))


def _page(options: argparse.Namespace) -> Page:
    return Page(options.output, quick=False, threads=options.threads)


if __name__ == "__main__":
    main()
