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

from compared.cases import CASES, QUICK, SIDES
from compared.measure import measure, measure_times
from compared.page import render
from reporting import Figures, Page
from rows import SkippedRowError, measure_rows, row_arguments


def main() -> None:
    parser = row_arguments(__doc__, "peers", CASES)
    parser.set_defaults(threads=1)
    parser.add_argument("--side", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument(
        "--times", action="store_true", help="only the predictions' times of rows with figures"
    )
    options = parser.parse_args()

    def figures(name: str, page: Page) -> Figures:
        case = CASES[name].quick() if options.quick else CASES[name]
        if not options.times:
            return measure(case, options.data, threads=options.threads)
        if not page.has(name):
            raise SkippedRowError("--times is for rows that have figures")
        return measure_times(case, page.figures(name), options.data, threads=options.threads)

    names = QUICK if options.quick else options.row
    chosen = [name for name in names if CASES[name].side in options.side]
    measure_rows(options, chosen, figures, render)


if __name__ == "__main__":
    main()
