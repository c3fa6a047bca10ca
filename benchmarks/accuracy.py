"""Measure the errors of kraft's and sgdml's models, made from the same geometries.

Both sides get the same training, validation and test frames. sgdml chooses its length scale as its
command line does; kraft takes its own defaults and, for comparison, equal weights of all distances
or sgdml's settings. Writes ``docs/benchmarks/accuracy.md``.

    python benchmarks/accuracy.py
    python benchmarks/accuracy.py --molecules ethanol --sizes 200 --seeds 0 1 2
    python benchmarks/accuracy.py --missing --sides sgdml
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any

import numpy as np
import torch
from peers.environment import run_peer
from reporting import Figures, Page, arguments, number, scratch, table, verdict

import kraft
from kraft.analysis.errors import evaluate

LENGTH_SCALES = tuple(range(10, 100, 10))  # sgdml's default
REGULARIZATION = 1e-10  # sgdml's only
KCAL = kraft.Units("kcal/mol")
SAME_SETTINGS = 1.01
WANTED_GAIN = 0.25
MAX_VALID = 200
MOST_LABELS = 15_000
"""Of sgdml's in a case that kraft is also trained in with sgdml's settings."""


@dataclass(frozen=True)
class Case:
    """A data set; test frames are what is left of it, or those of another file."""

    label: str
    file: str
    sizes: tuple[int, ...]
    test_file: str | None = None
    seeds: int = 1
    valid: int = MAX_VALID
    energies: bool = True
    """Whether its energies are the reference's, so that errors of energies mean something."""


CASES = {
    "ethanol": Case("ethanol, CCSD(T)", "data/ethanol_ccsd_t_train.npz", (100, 200, 500), seeds=3),
    "malonaldehyde": Case(
        "malonaldehyde, CCSD(T)", "data/malonaldehyde_ccsd_t_train.npz", (100, 200, 500), seeds=3
    ),
    "toluene": Case("toluene, PBE+TS", "data/md17_toluene_recovered.npz", (200,), energies=False),
    "uracil": Case("uracil, PBE+TS", "data/md17_uracil_recovered.npz", (200,), energies=False),
    "paracetamol": Case("paracetamol, PBE+TS", "data/md17_paracetamol_train1000.npz", (200,)),
    "3bpa": Case("3BPA, 300 to 1200 K", "data/3bpa_mixedT.npz", (200,), valid=100),
    "aspirin": Case(
        "aspirin, CCSD",
        "data/aspirin_ccsd_train.npz",
        (200, 500),
        "data/aspirin_ccsd_test.npz",
    ),
}

WAYS = {
    "default": "kraft, as it is",
    "equal": "kraft, equal weights",
    "same": "kraft, sgdml's settings",
}
SIDES = ("sgdml", *WAYS)


def main() -> None:
    parser = arguments(__doc__, "accuracy")
    parser.add_argument("--molecules", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--sizes", type=int, nargs="+", help="training frames, as a rule by case")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the splits")
    parser.add_argument(
        "--sides", nargs="+", choices=SIDES, default=list(SIDES), help="others keep their figures"
    )
    parser.add_argument("--missing", action="store_true", help="only sides without figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    options = parser.parse_args()
    page = Page(options.output, quick=options.quick, threads=options.threads)
    torch.set_num_threads(options.threads)
    for name, size, seed in [] if options.render else _cases(options):
        case = CASES[name]
        for path in filter(None, (case.file, case.test_file)):
            if not (options.data / path).exists():
                raise SystemExit(f"there is no {options.data / path}: set --data")
        key = f"{name}, {size} frames, seed {seed}"
        known = page.figures(key)
        for side in options.sides:
            if (options.missing and side in known) or not _possible(side, case, size, options):
                continue
            known |= measure(side, known, case, size, seed, options)
            page.add(key, known)
            if not options.quick:
                page.write(render)  # kept, should the rest be interrupted
    page.write(render)


def _cases(options: Any) -> Iterator[tuple[str, int, int]]:
    if options.quick:
        yield "ethanol", 20, 0
        return
    for name in options.molecules:
        case = CASES[name]
        for size in options.sizes or case.sizes:
            for seed in options.seeds or range(case.seeds):
                yield name, size, seed


def _possible(side: str, case: Case, size: int, options: Any) -> bool:
    """Tell whether a side is part of a case: sgdml's settings only where that is quick."""
    if side != "same" or options.quick:
        return True
    with np.load(options.data / case.file) as archive:
        return 3 * len(archive["z"]) * size <= MOST_LABELS


def measure(side: str, known: Figures, case: Case, size: int, seed: int, options: Any) -> Figures:
    """Train and test one side on one split; ``known`` are the figures of the other sides."""
    dataset = kraft.read(options.data / case.file)
    n_valid = min(case.valid, max(size, 50))
    n_test = 50 if options.quick else (0 if case.test_file else None)
    parts = kraft.split(dataset, n_train=size, n_valid=n_valid, n_test=n_test, seed=seed)
    test = parts.test if case.test_file is None else kraft.read(options.data / case.test_file)
    assert parts.valid is not None and test is not None
    sizes = [len(parts.train), len(parts.valid), len(test)]
    about = {"label": case.label, "sizes": sizes, "energies": case.energies}
    if side == "sgdml":
        return {**about, side: train_sgdml(parts, case, options)}
    ways: dict[str, dict[str, Any]] = {
        "default": {},
        "equal": {"feature_weights": None},
        "same": {
            "kernel": "matern52",
            "length_scale": float(known["sgdml"]["length_scale"]) if side == "same" else None,
            "regularization": REGULARIZATION,
            "feature_weights": None,
        },
    }
    return {**about, side: train_and_test(parts, test, seed=seed, **ways[side])}


def train_sgdml(parts: kraft.Split, case: Case, options: Any) -> Figures:
    """Train sgdml and return its errors in kcal/mol and kcal/mol/Å."""
    assert parts.valid is not None
    with scratch() as folder:
        request = {
            "dataset": str(options.data / case.file),
            "train_indices": parts.train.provenance.indices,
            "valid_indices": parts.valid.provenance.indices,
            "length_scales": LENGTH_SCALES[:2] if options.quick else LENGTH_SCALES,
            "regularization": REGULARIZATION,
            "model": str(Path(folder) / "model.npz"),
            "processes": options.threads,
            "torch_factorization": 3 * parts.train.n_atoms * len(parts.train) > MOST_LABELS,
        }
        if case.test_file is None:
            assert parts.test is not None
            request["test_indices"] = parts.test.provenance.indices
        else:
            request["test_dataset"] = str(options.data / case.test_file)
        peer = run_peer("sgdml_train.py", request, threads=options.threads, watch_memory=False)
    return {
        "force_mae": peer["test"]["force_mae"],
        "energy_mae": peer["test"]["energy_mae"],
        "length_scale": peer["length_scale"],
        "n_permutations": peer["n_permutations"],
        "seconds": peer["seconds"]["total"],
    }


def train_and_test(parts: kraft.Split, test: kraft.Dataset, **options: Any) -> Figures:
    """Train kraft and return its errors in kcal/mol and kcal/mol/Å."""
    start, busy = time.perf_counter(), time.process_time()
    model, result = kraft.train(parts.train, parts.valid, **options)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    errors = evaluate(model, test).in_units(KCAL)
    return {
        "force_mae": errors.force_mae,
        "energy_mae": errors.energy_mae,
        "kernel": result.choice.kernel,
        "length_scale": result.choice.length_scale,
        "regularization": result.choice.regularization,
        "n_permutations": len(result.permutations),
        "learned": result.metric is not None and result.metric.used,
        "seconds": seconds,
        "processor_seconds": busy,
    }


def render(rows: dict[str, Figures]) -> str:
    """Return the page, molecules in the order of the cases."""
    names = list(CASES)
    complete = [key for key, row in rows.items() if {"sgdml", "default"} <= row.keys()]
    complete.sort(key=lambda key: (names.index(key.split(",")[0]), rows[key]["sizes"][0], key))
    rows = {key: rows[key] for key in complete}
    header = ("data, frames, split", "frames", "sgdml", *WAYS.values())
    parts = ["# Errors at equal training sets", "", "Made by `benchmarks/accuracy.py`.", ""]
    parts += ["## Bars", "", table(("what", "measured", "bar", ""), _bars(rows))]
    for key, title in (
        ("force_mae", "Force MAE, kcal/mol/Å (ratio to sgdml)"),
        ("energy_mae", "Energy MAE, kcal/mol (ratio to sgdml)"),
    ):
        lines = [_error_cells(name, row, key) for name, row in rows.items() if _counts(row, key)]
        means = ["**mean ratio**", "", "", *(_mean_ratio(rows, way, key) for way in WAYS)]
        parts += [f"## {title}", "", table(header, [*lines, means])]
    choices = table(("data, frames, split", "sgdml", *WAYS.values()), _choices(rows))
    return "\n".join([*parts, "## What was chosen, and seconds to train", "", choices, NOTES])


def _counts(row: Figures, key: str) -> bool:
    """Tell whether an error means something in a case."""
    return key == "force_mae" or bool(row["energies"])


def _ratio(row: Figures, way: str, key: str) -> float:
    return float(row[way][key] / row["sgdml"][key])


def _mean_ratio(rows: dict[str, Figures], way: str, key: str) -> str:
    found = [_ratio(row, way, key) for row in rows.values() if way in row and _counts(row, key)]
    return f"**{geometric_mean(found):.3f}**" if found else ""


def _error_cells(name: str, row: Figures, key: str) -> list[str]:
    cells = [
        f"{number(row[way][key])} ({_ratio(row, way, key):.3f})" if way in row else ""
        for way in WAYS
    ]
    return [name, " + ".join(map(str, row["sizes"])), number(row["sgdml"][key]), *cells]


def _by_case(rows: dict[str, Figures], key: str) -> dict[str, float]:
    """Return the mean ratio of kraft's default over the splits of each molecule and size."""
    found: dict[str, list[float]] = {}
    for row in rows.values():
        if _counts(row, key):
            case = f"{row['label']}, {row['sizes'][0]}"
            found.setdefault(case, []).append(_ratio(row, "default", key))
    return {case: mean(ratios) for case, ratios in found.items()}


def _bars(rows: dict[str, Figures]) -> list[list[str]]:
    forces, energies = (_by_case(rows, key) for key in ("force_mae", "energy_mae"))
    gain = 1.0 - mean(forces.values())
    worst, worst_energy = (
        max(forces, key=forces.__getitem__),
        max(energies, key=energies.__getitem__),
    )
    lines = [
        [
            "force MAE below sgdml's, mean over molecules and sizes",
            f"{gain:.1%}",
            f"{WANTED_GAIN:.0%}",
            verdict(gain >= WANTED_GAIN),
        ],
        [
            f"largest ratio of force MAE ({worst})",
            f"{forces[worst]:.3f}",
            "1",
            verdict(forces[worst] <= 1.0),
        ],
        [
            f"largest ratio of energy MAE ({worst_energy})",
            f"{energies[worst_energy]:.3f}",
            "1",
            verdict(energies[worst_energy] <= 1.0),
        ],
    ]
    same = [
        _ratio(row, "same", key)
        for row in rows.values()
        if "same" in row
        for key in ("force_mae", "energy_mae")
    ]
    if same:
        text = (
            f"with sgdml's settings: largest ratio of force and energy MAE, {len(same) // 2} splits"
        )
        lines.append(
            [text, f"{max(same):.3f}", f"{SAME_SETTINGS:g}", verdict(max(same) <= SAME_SETTINGS)]
        )
    return lines


def _choices(rows: dict[str, Figures]) -> list[list[str]]:
    lines = []
    for name, row in rows.items():
        peer = row["sgdml"]
        first = f"length scale {peer['length_scale']}, S {peer['n_permutations']}"
        cells = [name, f"{first}, {peer['seconds']:.0f} s"]
        cells += [_choice(row[way]) if way in row else "" for way in WAYS]
        lines.append(cells)
    return lines


def _choice(ours: Figures) -> str:
    return (
        f"{ours['kernel']}{', learned metric' if ours['learned'] else ''}, length scale "
        f"{ours['length_scale']:.3g}, λ {ours['regularization']:.1e}, S {ours['n_permutations']}, "
        f"{ours['seconds']:.0f} s"
        + (f" ({ours['processor_seconds']:.0f})" if "processor_seconds" in ours else "")
    )


NOTES = """\
Frames are training + validation + test, disjoint and the same for both sides; both choose by the
validation frames. sgdml tries the length scales 10, 20, ..., 90 (its default) in this order until
the validation error rises, and keeps the one with the smallest force RMSE; its regularization is
1e-10. kraft *as it is* is `kraft.train(training, validation)` without further options; with *equal
weights* no metric is learned ([metric.md](../metric.md)). Mean ratios are
geometric over the rows, those of the bars arithmetic over molecules and sizes. The energies of
toluene and uracil in this data set are those of a model, not of the reference, so only forces are
compared there. Length scales are in 1/Å, λ is the regularization, S the number of symmetries, and
the time is the wall time of the training with all its choices while other work went on (in
parentheses, for kraft, the processor time alone). MAE of forces is over Cartesian components.
"""


if __name__ == "__main__":
    main()
