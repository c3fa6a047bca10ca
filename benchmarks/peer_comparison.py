"""Measure kraft beside FCHL19, MACE and NequIP, trained with the same frames.

Every row is one side's and is measured and kept on its own, in ``peers.json`` beside
``docs/benchmarks/peers.md``. The peers' interpreters are named by environment variables; the rows
of a peer that is not there are left as they are.

    python benchmarks/peer_comparison.py --threads 1 --missing
    python benchmarks/peer_comparison.py --threads 1 --side kraft
    python benchmarks/peer_comparison.py --threads 1 --row ethanol-200-mace
    python benchmarks/peer_comparison.py --threads 1 --times
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from compared.cases import CASES, QUICK, SIDES
from compared.measure import AbsentPeerError, measure, measure_times
from compared.page import render
from peers.environment import PeerError
from reporting import Page, arguments


def main() -> None:
    parser = arguments(__doc__, "peers")
    parser.set_defaults(threads=1)
    parser.add_argument("--row", nargs="+", choices=CASES, default=list(CASES), metavar="ROW")
    parser.add_argument("--side", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument(
        "--times", action="store_true", help="only the predictions' times of rows with figures"
    )
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
        if CASES[name].side not in options.side:
            continue
        known = _page(options).figures(name)
        if (options.missing and known) or (options.times and not known):
            continue
        try:
            if options.times and known:
                figures = measure_times(CASES[name], known, options.data, threads=options.threads)
            else:
                figures = measure(CASES[name], options.data, threads=options.threads)
        except AbsentPeerError as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            continue
        except (PeerError, FileNotFoundError) as error:
            failed = True
            print(f"{name}: failed\n{error}", file=sys.stderr, flush=True)
            continue
        page = _page(options)  # only now: another run may have written it meanwhile
        page.add(name, figures)
        page.write(render)
    if options.render:
        _page(options).write(render)
    if failed:
        raise SystemExit(1)


def _quick(options: argparse.Namespace) -> None:
    """Measure tiny rows of all sides that are there and print their page; keep nothing."""
    with tempfile.TemporaryDirectory() as folder:
        page = Page(Path(folder) / "peers.md", quick=True, threads=options.threads)
        for name in QUICK:
            case = CASES[name].quick()
            try:
                page.add(name, measure(case, options.data, threads=options.threads))
            except AbsentPeerError as error:
                print(error, file=sys.stderr, flush=True)
        page.write(render)


def _page(options: argparse.Namespace) -> Page:
    return Page(options.output, quick=False, threads=options.threads)


if __name__ == "__main__":
    main()
