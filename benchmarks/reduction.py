"""Measure reduced descriptors: errors and speed by size, importance, maps, robustness.

Every row is measured on its own and kept in ``descriptors.json`` beside
``docs/benchmarks/descriptors.md``; models are kept in ``--models`` for the maps.

    python benchmarks/reduction.py --list
    python benchmarks/reduction.py --row ac-ala3:importance ac-ala3:1 ac-ala3:0.4
    python benchmarks/reduction.py --missing
    python benchmarks/reduction.py --render
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from peers.environment import PeerError
from reduced.cases import CASES
from reduced.measure import Measurement
from reduced.page import page_renderer
from reporting import Figures, Page, arguments

ROWS = tuple(row for case in CASES.values() for row in case.rows)
MODELS = Path.home() / ".cache" / "kraft-benchmarks" / "reduction"
QUICK = "ac-ala3"


def main() -> None:
    parser = arguments(__doc__, "descriptors")
    parser.add_argument("--row", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of models and figures")
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    parser.add_argument("--list", action="store_true", help="name the rows")
    options = parser.parse_args()
    if options.list:
        print("\n".join(ROWS))
        return
    if options.quick:
        _quick(options)
        return
    failed = False
    for row in [] if options.render else options.row:
        if options.missing and _page(options).has(row):
            continue
        try:
            figures = _measure(options, row)
        except (PeerError, FileNotFoundError) as error:
            failed = True
            print(f"{row}: failed\n{error}", file=sys.stderr, flush=True)
            continue
        page = _page(options)  # only now: another run may have written it meanwhile
        page.add(row, figures)
        page.write(page_renderer(options.output, options.models))
    if options.render:
        _page(options).write(page_renderer(options.output, options.models))
    if failed:
        raise SystemExit(1)


def _measure(options: argparse.Namespace, row: str) -> Figures:
    case = CASES[row.split(":")[0]]
    measure = Measurement(case, options.data, options.models, threads=options.threads)
    store = options.output.with_suffix(".json")
    rows = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    return measure(row, rows)


def _quick(options: argparse.Namespace) -> None:
    """Measure all rows of a tiny case and print their page; keep nothing."""
    case = CASES[QUICK].quick()
    page = Page(options.output, quick=True, threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        measure = Measurement(case, options.data, Path(folder), threads=options.threads)
        rows: dict[str, Figures] = {}
        for row in case.rows:
            rows[row] = measure(row, rows)
            page.add(row, rows[row])
        page.write(page_renderer(Path(folder) / "descriptors.md", Path(folder)))


def _page(options: argparse.Namespace) -> Page:
    return Page(options.output, quick=False, threads=options.threads)


if __name__ == "__main__":
    main()
