"""Measure reduced descriptors: errors and speed by size, importance, maps, robustness.

Every row is measured on its own and kept in ``descriptors.json`` beside
``docs/benchmarks/descriptors.md``; models are kept in ``--models`` for the maps.

    python benchmarks/reduction.py --list
    python benchmarks/reduction.py --row ac-ala3:importance ac-ala3:1 ac-ala3:0.4
    python benchmarks/reduction.py --missing
    python benchmarks/reduction.py --render
"""

from __future__ import annotations

from pathlib import Path

from reduced.cases import CASES
from reduced.measure import Measurement
from reduced.page import page_renderer
from reporting import Figures, Page
from rows import measure_rows, page_file, row_arguments

ROWS = tuple(row for case in CASES.values() for row in case.rows)
MODELS = Path.home() / ".cache" / "kraft-benchmarks" / "reduction"
QUICK = "ac-ala3"


def main() -> None:
    parser = row_arguments(__doc__, "descriptors", ROWS)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of models and figures")
    options = parser.parse_args()
    cases = {QUICK: CASES[QUICK].quick()} if options.quick else CASES
    with page_file(options) as output:
        models = output.parent if options.quick else options.models

        def figures(row: str, page: Page) -> Figures:
            case = cases[row.split(":")[0]]
            measurement = Measurement(case, options.data, models, threads=options.threads)
            return measurement(row, page.rows)

        names = cases[QUICK].rows if options.quick else options.row
        measure_rows(options, names, figures, page_renderer(output, models))


if __name__ == "__main__":
    main()
