"""Measure trainings that are too large, or too slow, for a dense factorization.

Memory, time and errors of kraft's iterative solver, beside sgdml's. Every row is measured on its
own and kept in ``training-at-scale.json`` beside the page ``docs/benchmarks/training-at-scale.md``.

    python benchmarks/training_at_scale.py --row aspirin-1000
    python benchmarks/training_at_scale.py --row ac-ala3-100 ac-ala3-200 ac-ala3-500
    python benchmarks/training_at_scale.py --render
"""

from __future__ import annotations

import argparse
import sys

from at_scale.cases import CASES, RUN_BY_DEFAULT
from at_scale.measure import Limits, measure
from at_scale.page import render
from peers.environment import PeerError
from reporting import Page, arguments


def main() -> None:
    parser = arguments(__doc__, "training-at-scale")
    parser.add_argument("--row", nargs="+", choices=CASES, default=list(RUN_BY_DEFAULT))
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument(
        "--peer-seconds", type=float, default=240.0, help="of sgdml's conjugate gradients"
    )
    parser.add_argument("--repeats", type=int, default=2, help="of kraft's runs to an error")
    options = parser.parse_args()
    if options.list:
        print("\n".join(CASES))
        return
    limits = Limits(options.threads, options.peer_seconds, options.repeats, options.quick)
    failed = False
    for name in [] if options.render else options.row:
        case = CASES[name].quick() if options.quick else CASES[name]
        if options.missing and _page(options).has(name):
            continue
        if case.device == "cuda" and not _has_cuda():
            print(f"{name}: skipped, no CUDA device", file=sys.stderr)
            continue
        try:
            figures = measure(case, options.data, limits)
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


def _page(options: argparse.Namespace) -> Page:
    return Page(options.output, quick=options.quick, threads=options.threads)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
