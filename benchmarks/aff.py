"""Measure atomized force fields: errors, intervals, time and memory beside sGDML and the paper.

Every row is measured on its own and kept in ``aff.json`` beside ``docs/benchmarks/aff.md``.

    python benchmarks/aff.py --row glucose aspirin
    python benchmarks/aff.py --missing
    python benchmarks/aff.py --render
"""

from __future__ import annotations

from atomized.cases import CASES, QUICK
from atomized.measure import measure
from atomized.page import page_renderer
from reporting import Figures, Page
from rows import measure_rows, page_file, row_arguments


def main() -> None:
    options = row_arguments(__doc__, "aff", CASES).parse_args()

    def figures(name: str, _: Page) -> Figures:
        case = CASES[name].quick() if options.quick else CASES[name]
        return measure(case, options.data, threads=options.threads)

    with page_file(options) as output:
        names = QUICK if options.quick else options.row
        measure_rows(options, names, figures, page_renderer(output))


if __name__ == "__main__":
    main()
