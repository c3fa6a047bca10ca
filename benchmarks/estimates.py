"""Compare what ``kraft estimate`` predicts with the memory and time that trainings take.

Every estimate and every training runs in a process of its own; memory is the peak of its resident
set. Figures are kept in ``estimates.json`` beside the page ``docs/benchmarks/estimates.md``.

    python benchmarks/estimates.py
    python benchmarks/estimates.py --row ethanol-300 aspirin-200
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reporting import Figures, Page, arguments, table, verdict

MEMORY_BAR, TIME_BAR = 0.2, 2.0
"""Relative error of the memory, and factor of the time, that an estimate may be off."""

PAPER: dict[str, Any] = {"kernel": "matern52", "length_scale": 20.0, "regularization": 1e-10}

Route = Literal["dense", "iterative"]


@dataclass(frozen=True)
class Case:
    """Trainings of one size by some of the solvers."""

    label: str
    file: str
    n_train: int
    routes: tuple[Route, ...]
    settings: dict[str, Any] = dataclasses.field(default_factory=lambda: dict(PAPER))

    def quick(self) -> Case:
        """Return a tiny version."""
        return dataclasses.replace(self, n_train=max(20, self.n_train // 20))


_BOTH: tuple[Route, ...] = ("dense", "iterative")
ETHANOL, ASPIRIN = "data/ethanol_ccsd_t_train.npz", "data/aspirin_ccsd_train.npz"
CASES = {
    "ethanol-300": Case("ethanol, 300", ETHANOL, 300, _BOTH),
    "ethanol-300-chosen": Case("ethanol, 300, parameters chosen", ETHANOL, 300, _BOTH, {}),
    "ethanol-900": Case("ethanol, 900", ETHANOL, 900, _BOTH),
    "aspirin-200": Case("aspirin, 200", ASPIRIN, 200, _BOTH),
    "aspirin-500": Case("aspirin, 500", ASPIRIN, 500, ("iterative",)),
}


def main() -> None:
    parser = arguments(__doc__, "estimates")
    parser.add_argument("--row", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "CASE"), help=argparse.SUPPRESS)
    parser.add_argument("--route", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, name = options.worker
        case = CASES[name].quick() if options.quick else CASES[name]
        print(json.dumps(_work(kind, case, options.route, options.data)))
        return
    for name in options.row:
        predicted = _run(options, "estimate", name, "")
        measured = {route: _run(options, "train", name, route) for route in CASES[name].routes}
        page = Page(options.output, quick=options.quick, threads=options.threads)
        page.add(name, {"predicted": predicted, "measured": measured})
        page.write(render)


def _run(options: argparse.Namespace, kind: str, name: str, route: str) -> Figures:
    """Run one estimate or training in a fresh process."""
    command = [sys.executable, __file__, "--worker", kind, name, "--route", route]
    command += ["--data", str(options.data)] + (["--quick"] if options.quick else [])
    threads = str(options.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {kind} {route}".rstrip(), file=sys.stderr, flush=True)
    return figures


def _work(kind: str, case: Case, route: str, data: Path) -> Figures:
    import kraft
    import kraft.models.estimate  # loads all libraries, before the clock starts

    dataset = kraft.read(data / case.file)
    if kind == "estimate":
        return _estimate(case, dataset)
    training = kraft.split(dataset, n_train=case.n_train, seed=0).train
    solver: Any = route
    started = time.perf_counter()
    _, result = kraft.train(training, solver=solver, **case.settings)
    return {
        "seconds": time.perf_counter() - started,
        "memory": _peak(),
        "iterations": result.outcome.iterations,
        "rank": result.outcome.rank,
        "timings": dataclasses.asdict(result.timings),
    }


def _estimate(case: Case, dataset: Any) -> Figures:
    from kraft.models.estimate import estimate_training
    from kraft.models.selection import Request

    started = time.perf_counter()
    expected = estimate_training(dataset, case.n_train, request=Request(**case.settings))
    figures: Figures = {"took": time.perf_counter() - started, "plan": expected.plan.reason}
    figures["solver"] = expected.plan.solver
    for route in _BOTH:
        found = getattr(expected, route)
        figures[route] = {**dataclasses.asdict(found), "total": found.seconds.total}
    return figures


def _peak() -> int:
    """Return the peak of this process's resident set in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell the peak of a process's memory")


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    memory, times = [], []
    for name, case in CASES.items():
        if name not in rows:
            continue
        predicted = rows[name]["predicted"]
        for route, measured in rows[name]["measured"].items():
            expected = predicted[route]
            error = expected["memory"] / measured["memory"] - 1.0
            factor = expected["total"] / measured["seconds"]
            chosen = " (chosen)" if route == predicted["solver"] else ""
            memory.append(
                (
                    case.label,
                    route,
                    f"{expected['memory'] / 1e6:.0f}",
                    f"{measured['memory'] / 1e6:.0f}",
                    f"{error:+.0%}",
                    verdict(abs(error) <= MEMORY_BAR),
                )
            )
            steps = f"{expected['iterations']} / {measured['iterations']}"
            times.append(
                (
                    case.label,
                    route + chosen,
                    f"{expected['total']:.3g}",
                    f"{measured['seconds']:.3g}",
                    f"{factor:.2f}",
                    f"{expected['rank']} / {measured['rank']}" if expected["rank"] else "",
                    steps if route == "iterative" else "",
                    f"{predicted['took']:.1f}",
                    verdict(1.0 / TIME_BAR <= factor <= TIME_BAR),
                )
            )
    return (
        "# Estimates\n\n"
        "What `kraft estimate` predicts beside what trainings take, each in a fresh process.\n"
        "Kernel Matérn 5/2, length scale 20, regularization 1e-10 unless chosen; memory is the\n"
        "peak of the process, of which about 300 MB are the interpreter and its libraries.\n\n"
        f"## Memory (bar: within {MEMORY_BAR:.0%})\n\n"
        + table(("training", "solver", "predicted, MB", "measured, MB", "error", "bar"), memory)
        + f"\n## Time (bar: within a factor of {TIME_BAR:g})\n\n"
        + table(
            (
                "training",
                "solver",
                "predicted, s",
                "measured, s",
                "ratio",
                "rank, predicted / used",
                "iterations, predicted / measured",
                "estimate took, s",
                "bar",
            ),
            times,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
