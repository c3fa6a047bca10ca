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
from pathlib import Path

from reporting import Figures, Page
from rows import measure_rows, page_file, row_arguments
from simulated.cases import ROWS

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WORK = Path.home() / ".cache" / "kraft-benchmarks" / "dynamics"


def main() -> None:
    parser = row_arguments(__doc__, "dynamics", ROWS)
    parser.set_defaults(threads=1)
    parser.add_argument("--work", type=Path, default=WORK, help="folder of models, trajectories")
    parser.add_argument("--keep", action="store_true", help="keep trajectories of finished rows")
    options = parser.parse_args()
    for variable in THREADS:  # before NumPy is imported; i-PI's process has them, too
        os.environ[variable] = str(options.threads)
    with page_file(options) as output:
        _measure(options, output.parent)


def _measure(options: argparse.Namespace, folder: Path) -> None:
    """Measure the chosen rows; their curves and the page's plots go to a folder."""
    from simulated.measure import Place, measure
    from simulated.page import page_renderer

    arrays = folder / "data" / "dynamics"
    work = folder / "work" if options.quick else options.work
    place = Place(options.data, work, arrays, options.keep)

    def figures(name: str, _: Page) -> Figures:
        row = ROWS[name].quick() if options.quick else ROWS[name]
        return measure(name, row, place, threads=options.threads, quick=options.quick)

    measure_rows(options, options.row, figures, page_renderer(folder, arrays))


if __name__ == "__main__":
    main()
