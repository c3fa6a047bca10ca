"""Redo the simulations of papers 002, 000 and 003 on the data at hand, in sizes for one core.

Ethanol's hydroxyl rotor, malonaldehyde and aspirin at two levels of theory, a tetrapeptide with a
full and a reduced descriptor, pulled and free, and the buckyball catcher, classically and by path
integrals. Every row is measured on its own and kept in ``dynamics.json`` beside
``docs/benchmarks/dynamics.md``, its curves in ``docs/benchmarks/data/dynamics``; the page and its
plots are made anew from both. A row that was interrupted goes on from its trajectories.

    python benchmarks/experiments.py --list
    python benchmarks/experiments.py --row ethanol-md ethanol-pimd
    python benchmarks/experiments.py --missing
    python benchmarks/experiments.py --render
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from reporting import Page, arguments
from simulated.cases import ROWS

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WORK = Path.home() / ".cache" / "kraft-benchmarks" / "dynamics"


def main() -> None:
    parser = arguments(__doc__, "dynamics")
    parser.set_defaults(threads=1)
    parser.add_argument("--row", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of models, trajectories")
    parser.add_argument("--keep", action="store_true", help="keep trajectories of finished rows")
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    parser.add_argument("--list", action="store_true", help="name the rows")
    options = parser.parse_args()
    if options.list:
        print("\n".join(ROWS))
        return
    for variable in THREADS:  # before NumPy is imported; i-PI's process has them, too
        os.environ[variable] = str(options.threads)
    if options.quick:
        _quick(options)
    else:
        _measure(options)


def _measure(options: argparse.Namespace) -> None:
    from simulated.measure import Place, measure
    from simulated.page import page_renderer

    arrays = options.output.parent / "data" / "dynamics"
    place = Place(options.data, options.work, arrays, options.keep)
    render = page_renderer(options.output.parent, arrays)
    failed = False
    for name in [] if options.render else options.row:
        if options.missing and _page(options).has(name):
            continue
        try:
            figures = measure(name, ROWS[name], place, threads=options.threads)
        except FileNotFoundError as error:
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


def _page(options: argparse.Namespace) -> Page:
    return Page(options.output, quick=False, threads=options.threads)


def _quick(options: argparse.Namespace) -> None:
    """Measure the chosen rows with tiny sizes and print their page; keep nothing."""
    from simulated.measure import Place, measure
    from simulated.page import page_renderer

    page = Page(options.output, quick=True, threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        place = Place(options.data, root / "work", root / "arrays")
        for name in options.row:
            row = ROWS[name].quick()
            page.add(name, measure(name, row, place, threads=options.threads, quick=True))
        page.write(page_renderer(root, root / "arrays"))


if __name__ == "__main__":
    main()
