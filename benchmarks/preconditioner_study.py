"""Compare preconditioners after paper 004 and figures 3 and 4 of paper 000; write the page.

Every finished measurement is kept at once, so that an interrupted run goes on where it was, and
the sections can be run one by one. Without a section, only the page is written anew.

    python benchmarks/preconditioner_study.py --section spectra
    python benchmarks/preconditioner_study.py --section iterations --molecules ethanol aspirin
    python benchmarks/preconditioner_study.py --section rule rank accuracy cost

Explanations of what disagrees with the papers are in `preconditioner_notes.md`, apart from the
figures; they are put below the section of the same name.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from preconditioner_page import render
from reporting import PAGES, default_data, processor
from threadpoolctl import threadpool_limits

import kraft
from kraft.analysis.preconditioner_study.accuracy import compare_solutions, solve
from kraft.analysis.preconditioner_study.candidates import Candidate, candidates
from kraft.analysis.preconditioner_study.iterations import Budget
from kraft.analysis.preconditioner_study.log import MeasurementLog
from kraft.analysis.preconditioner_study.rules import PAPER_RULES
from kraft.analysis.preconditioner_study.study import Study
from kraft.analysis.preconditioner_study.systems import StudySystem, study_system
from kraft.core.files import atomic_path
from kraft.core.progress import Progress
from kraft.solvers import DenseCholesky
from kraft.solvers.iterative import IterativeSolver
from kraft.solvers.preconditioners import preconditioner_method

SECTIONS = ("spectra", "iterations", "rule", "rank", "accuracy", "cost")
FILES = {
    "ethanol": "md17_ethanol_schnetpack2000",
    "uracil": "md17_uracil_recovered",
    "toluene": "md17_toluene_recovered",
    "aspirin": "md17_aspirin_recovered",
    "malonaldehyde": "md17_malonaldehyde_recovered",
    "catcher": "catcher_gfn2",
}
MOLECULES = ("ethanol", "uracil", "toluene", "aspirin", "catcher")

PAPERS = ("uniform", "leverage", "rank-leverage", "incomplete-cholesky", "random-pivoting", "svd")
OURS = ("uniform", "incomplete-cholesky", "random-pivoting")
FEW_PAPERS = ("uniform", "incomplete-cholesky", "random-pivoting", "svd")
FEW_OURS = ("random-pivoting",)
WITHOUT_COLUMNS = ("jacobi", "atomic-blocks", "none")
SHARES = (0.025, 0.05, 0.10, 0.14)
RULE_SHARES = (0.02, 0.04, 0.07, 0.10, 0.14)
RULE_SERIES = (("leverage", "shift"), ("random-pivoting", "blocks:5"))
COST_SHARES = (0.025, 0.05, 0.10, 0.20, 0.40)
CAP_WITHOUT_COLUMNS = 200
TEST_FRAMES = 200


def main() -> None:
    options = arguments().parse_args()
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)
    output = Path(options.output)
    page = Store(output.with_suffix(".json"), options.threads)
    log = MeasurementLog(output.parent / "data" / f"{output.stem}.jsonl")
    for section in options.section:
        for molecule in options.molecules:
            started = time.perf_counter()
            MEASURE[section](Run(options, page, log, molecule))
            note(f"{section}, {molecule}: {time.perf_counter() - started:.0f} s")
    notes = Path(__file__).with_name("preconditioner_notes.md").read_text(encoding="utf-8")
    render(page.rows, notes, output)
    note(f"wrote {output}")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=[])
    parser.add_argument("--molecules", nargs="+", choices=FILES, default=list(MOLECULES))
    parser.add_argument("--size", type=int, default=15750, help="n = 3NM of the systems, about")
    parser.add_argument(
        "--rule-sizes", type=int, nargs="+", default=[7875, 15750], help="n of the sections rule"
    )
    parser.add_argument("--accuracy-size", type=int, default=15750, help="n of section accuracy")
    parser.add_argument("--cost-frames", type=int, default=1000, help="of malonaldehyde")
    parser.add_argument("--max-iterations", type=int, default=3000)
    parser.add_argument(
        "--max-seconds", type=float, default=600.0, help="for systems iterated together"
    )
    parser.add_argument(
        "--few", action="store_true", help="half of the preconditioners in the section iterations"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=default_data(), help="reference data")
    parser.add_argument("--output", type=Path, default=PAGES / "preconditioners.md")
    return parser


class Store:
    """Figures of the page by case, in a JSON file, with how they were made."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, threads
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.rows = json.loads(path.read_text(encoding="utf-8"))

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def add(self, key: str, figures: dict[str, Any]) -> None:
        """Keep the figures of a case in place of older ones."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        how = {
            "command": " ".join(["python", "benchmarks/preconditioner_study.py", *sys.argv[1:]]),
            "machine": f"{processor()}, {cores} cores, {self._threads} threads",
            "versions": f"kraft {version('kraft')}, NumPy {version('numpy')}, "
            f"torch {torch.__version__}",
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        }
        self.rows[key] = {**figures, "how": how}
        with atomic_path(self._path) as temporary:
            text = json.dumps(self.rows, indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")


class Run:
    """One section for one molecule."""

    def __init__(self, options: Any, page: Store, log: MeasurementLog, molecule: str) -> None:
        self.options, self.page, self.log, self.molecule = options, page, log, molecule
        self.budget = Budget(1e-4, options.max_iterations, options.max_seconds)

    def dataset(self, molecule: str | None = None) -> kraft.Dataset:
        """Return the reference data."""
        path = self.options.data / "data" / f"{FILES[molecule or self.molecule]}.npz"
        if not path.exists():
            raise SystemExit(f"there is no {path}: set --data")
        return kraft.read(path)

    def study(self, n_train: int, length_scale: float = 10.0) -> Study:
        """Set up the system of so many geometries."""
        system = self.system(n_train, length_scale)
        note(f"{self.molecule}: n = {system.n_labels}, {system.size} unknowns")
        return Study(system, self.log, progress=Lines())

    def system(self, n_train: int, length_scale: float = 10.0) -> StudySystem:
        """Return the system of so many geometries."""
        training = kraft.split(self.dataset(), n_train=n_train).train
        return study_system(training, length_scale=length_scale)

    def frames(self, size: int) -> int:
        """Return the geometries that make a system of about this size, at most those there are."""
        dataset = self.dataset()
        return min(max(2, round(size / (3 * dataset.n_atoms))), len(dataset))


def spectra(run: Run) -> None:
    """Compute spectra of aspirin (004, figures 4 and 8) and malonaldehyde (000, figure 3)."""
    size = run.options.size
    cases = {
        "aspirin": ((0.006, 0.025, 0.10), 10.0, (size, min(size, 3000))),
        "malonaldehyde": ((0.025, 0.05, 0.075), 12.0, (min(size, 3700),)),
    }
    if run.molecule == MOLECULES[0]:  # malonaldehyde is in no other section of its own
        spectra(Run(run.options, run.page, run.log, "malonaldehyde"))
    if run.molecule not in cases:
        return
    shares, length_scale, sizes = cases[run.molecule]
    for each in sizes:
        study = run.study(run.frames(each), length_scale)
        ranks = [max(1, round(share * study.system.n_labels)) for share in shares]
        chosen = candidates(PAPERS, ("shift",), ranks)
        chosen += candidates(("random-pivoting",), ("blocks", "blocks:5"), ranks)
        small = study.system.size <= 3000
        chosen += candidates(WITHOUT_COLUMNS if small else ("jacobi", "none"), (), ranks)
        found = study.spectra(chosen)
        rows = [
            {
                "candidate": dataclasses.asdict(candidate),
                "indices": spectrum.indices.tolist(),
                "values": spectrum.values.tolist(),
                "smallest": spectrum.smallest,
                "complete": spectrum.complete,
            }
            for candidate, spectrum in found.items()
        ]
        key = f"spectra/{run.molecule}/{study.system.n_labels}"
        run.page.add(key, {**described(study.system), "spectra": rows})


def iterations(run: Run) -> None:
    """Count iterations against rank (004, figures 5 and 10)."""
    study = run.study(run.frames(run.options.size))
    ranks = [round(share * study.system.n_labels) for share in SHARES]
    cap = min(CAP_WITHOUT_COLUMNS, run.budget.max_iterations)
    few = dataclasses.replace(run.budget, max_iterations=cap)
    counts = [*study.iterations(candidates(WITHOUT_COLUMNS, (), ranks), few)]
    papers, ours = (FEW_PAPERS, FEW_OURS) if run.options.few else (PAPERS, OURS)
    chosen = candidates(papers, ("shift",), ranks)
    chosen += candidates(ours, ("blocks", "blocks:5"), ranks)
    counts += study.iterations(chosen, run.budget)
    figures = {**described(study.system), "counts": [dataclasses.asdict(c) for c in counts]}
    run.page.add(f"iterations/{run.molecule}", figures)


def rule(run: Run) -> None:
    """Count iterations per size against rank, for the rules (004, figure 6, Table I)."""
    for size in run.options.rule_sizes:
        study = run.study(run.frames(size))
        chosen = rule_candidates(study)
        counts = study.iterations(chosen, run.budget)
        figures = {**described(study.system), "counts": [dataclasses.asdict(c) for c in counts]}
        run.page.add(f"rule/{run.molecule}/{study.system.n_labels}", figures)
        study.release()


def rank(run: Run) -> None:
    """Time predicted against best measured rank, by run time (004, figure 7)."""
    study = run.study(run.frames(max(run.options.rule_sizes)))
    counts = study.iterations(rule_candidates(study), run.budget)
    series = {}
    for name in dict.fromkeys(count.candidate.series for count in counts):
        some = [count for count in counts if count.candidate.series == name]
        series[name] = [dataclasses.asdict(point) for point in study.run_times(some)]
    figures = {
        **described(study.system),
        "seconds_per_product": study.seconds_per_product(),
        "points": series,
    }
    run.page.add(f"rank/{run.molecule}", figures)


def rule_candidates(study: Study) -> tuple[Candidate, ...]:
    """Return the preconditioners whose iterations the rules are about."""
    ranks = [round(share * study.system.n_labels) for share in RULE_SHARES]
    return tuple(
        candidate
        for method, remainder in RULE_SERIES
        for candidate in candidates((method,), (remainder,), ranks)
    )


def accuracy(run: Run) -> None:
    """Compare dense with iterative solutions (004, Table II)."""
    dataset = run.dataset()
    n_train = min(run.frames(run.options.accuracy_size), len(dataset) - TEST_FRAMES)
    parts = kraft.split(dataset, n_train=n_train, n_test=TEST_FRAMES)
    if parts.test is None:
        raise SystemExit("no frames are left to test on")
    system = study_system(parts.train)
    note(f"{run.molecule}: n = {system.n_labels}, {system.size} unknowns")
    papers = PAPER_RULES[run.molecule].rank(system.n_labels)
    solvers = (
        solver("leverage", "shift", min(papers, system.size // 4), run.budget),
        solver("random-pivoting", "blocks:5", round(0.05 * system.n_labels), run.budget),
    )
    found = compare_solutions(system, parts.test, solvers, progress=Lines())
    rows = [dataclasses.asdict(comparison) for comparison in found]
    run.page.add(f"accuracy/{run.molecule}", {**described(system), "comparisons": rows})


def cost(run: Run) -> None:
    """Measure time and memory against rank (000, figure 4): malonaldehyde, once in a run."""
    if run.molecule != run.options.molecules[0]:
        return
    run.molecule = "malonaldehyde"
    system = run.system(run.options.cost_frames, 12.0)
    note(f"malonaldehyde: n = {system.n_labels}, {system.size} unknowns")
    key = f"cost/{system.n_labels}"
    if f"{key}/dense" not in run.page:
        _, exact = solve(system, DenseCholesky(), progress=Lines())
        memory = DenseCholesky.required_memory(system.size, system.operator.block_size)
        exact = dataclasses.replace(exact, memory=memory)
        run.page.add(f"{key}/dense", {**described(system), "solution": dataclasses.asdict(exact)})
    for method, remainder in RULE_SERIES:
        for share in COST_SHARES:
            columns = round(share * system.n_labels)
            name = f"{key}/{Candidate(method, remainder, columns).key}"
            if name in run.page or columns > system.size:
                continue
            one = solver(method, remainder, columns, run.budget, rank_growth=1.0, max_restarts=0)
            _, solution = solve(system, one, measure_memory=True, progress=Lines())
            series = Candidate(method, remainder, columns).series
            figures = {"series": series, "solution": dataclasses.asdict(solution)}
            run.page.add(name, {**described(system), **figures})


def solver(
    method: str, remainder: str, columns: int, budget: Budget, **more: Any
) -> IterativeSolver:
    """Return kraft's iterative solver with this preconditioner."""
    geometries = Candidate(method, remainder, columns).block_geometries
    return IterativeSolver(
        preconditioner_method(
            method,
            remainder="blocks" if geometries else "shift",
            block_geometries=max(1, geometries),
        ),
        rank=columns,
        tolerance=budget.tolerance,
        max_iterations=budget.max_iterations,
        **more,
    )


def described(system: StudySystem) -> dict[str, Any]:
    """Return what the page says of a system."""
    return {
        "n_train": system.n_train,
        "n_labels": system.n_labels,
        "size": system.size,
        "n_permutations": system.n_permutations,
        "length_scale": system.length_scale,
        "regularization": system.regularization,
    }


class Lines(Progress):
    """Tell on standard error where long work is, once in half a minute."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Take note."""
        if time.monotonic() - self._last > 30.0:
            self._last = time.monotonic()
            note(f"  {stage}: {done} of {total or '?'}")


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


MEASURE: dict[str, Callable[[Run], None]] = {
    "spectra": spectra,
    "iterations": iterations,
    "rule": rule,
    "rank": rank,
    "accuracy": accuracy,
    "cost": cost,
}


if __name__ == "__main__":
    main()
