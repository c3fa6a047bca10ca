"""Measure trainings that are too large, or too slow, for a dense factorization.

Memory, time and errors of kraft's iterative solver, beside sgdml's. Every row is measured on its
own and kept in ``training-at-scale.json`` beside the page ``docs/benchmarks/training-at-scale.md``.

    python benchmarks/training_at_scale.py --row aspirin-1000
    python benchmarks/training_at_scale.py --row ac-ala3-100 ac-ala3-200 ac-ala3-500
    python benchmarks/training_at_scale.py --render
"""

from __future__ import annotations

from at_scale.cases import CASES, RUN_BY_DEFAULT
from at_scale.measure import Limits, measure
from at_scale.page import render
from reporting import Figures, Page
from rows import SkippedRowError, measure_rows, row_arguments


def main() -> None:
    parser = row_arguments(__doc__, "training-at-scale", CASES, RUN_BY_DEFAULT)
    parser.add_argument(
        "--peer-seconds", type=float, default=240.0, help="of sgdml's conjugate gradients"
    )
    parser.add_argument("--repeats", type=int, default=2, help="of kraft's runs to an error")
    options = parser.parse_args()
    limits = Limits(options.threads, options.peer_seconds, options.repeats, options.quick)

    def figures(name: str, _: Page) -> Figures:
        case = CASES[name].quick() if options.quick else CASES[name]
        if case.device == "cuda" and not _has_cuda():
            raise SkippedRowError("there is no CUDA device")
        return measure(case, options.data, limits)

    measure_rows(options, options.row, figures, render)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
