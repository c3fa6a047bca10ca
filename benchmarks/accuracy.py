"""Measure the errors of kraft's and sgdml's models, made from the same geometries.

Both sides get the same training, validation and test frames. sgdml chooses its length scale as its
command line does; kraft takes that one, or chooses its own, or the kernel too. Writes
``docs/benchmarks/accuracy.md``.

    python benchmarks/accuracy.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any

import torch
from peers.environment import run_peer
from reporting import Figures, Page, arguments, number, scratch, table, verdict

import kraft
from kraft.analysis.errors import evaluate

LENGTH_SCALES = tuple(range(10, 100, 10))  # sgdml's default
REGULARIZATION = 1e-10  # sgdml's only
KCAL = kraft.Units("kcal/mol")
TOLERATED = 1.01
WANTED_GAIN = 0.10


@dataclass(frozen=True)
class Case:
    """A data set; test frames are what is left of it, or those of another file."""

    label: str
    file: str
    test_file: str | None = None
    seeds: int = 3


CASES = {
    "ethanol": Case("ethanol, CCSD(T)", "data/ethanol_ccsd_t_train.npz"),
    "malonaldehyde": Case("malonaldehyde, CCSD(T)", "data/malonaldehyde_ccsd_t_train.npz"),
    "aspirin": Case(
        "aspirin, CCSD", "data/aspirin_ccsd_train.npz", "data/aspirin_ccsd_test.npz", seeds=1
    ),
}

WAYS = {
    "same": "Matérn-5/2, sgdml's settings",
    "matern52": "Matérn-5/2, own choice",
    "auto": "kernel and all chosen",
}


def main() -> None:
    parser = arguments(__doc__, "accuracy")
    parser.add_argument("--molecules", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", help="of the splits")
    options = parser.parse_args()
    page = Page(options.output, quick=options.quick, threads=options.threads)
    torch.set_num_threads(options.threads)
    for name in ["ethanol"] if options.quick else options.molecules:
        case = CASES[name]
        for path in filter(None, (case.file, case.test_file)):
            if not (options.data / path).exists():
                raise SystemExit(f"there is no {options.data / path}: set --data")
        seeds = [0] if options.quick else options.seeds or range(case.seeds)
        for seed in seeds:
            page.add(f"{name}, seed {seed}", measure(case, seed, options))
            if not options.quick:
                page.write(render)  # kept, should the rest be interrupted
    if options.quick:
        page.write(render)


def measure(case: Case, seed: int, options: Any) -> Figures:
    """Train and test both sides on one split."""
    size = 20 if options.quick else 200
    source = options.data / case.file
    dataset = kraft.read(source)
    parts = kraft.split(
        dataset,
        n_train=size,
        n_valid=size,
        n_test=size if options.quick else (0 if case.test_file else None),
        seed=seed,
    )
    test = parts.test if case.test_file is None else kraft.read(options.data / case.test_file)
    with scratch() as folder:
        request = {
            "dataset": str(source),
            "train_indices": parts.train.provenance.indices,
            "valid_indices": parts.valid.provenance.indices,
            "length_scales": LENGTH_SCALES[:2] if options.quick else LENGTH_SCALES,
            "regularization": REGULARIZATION,
            "model": str(Path(folder) / "model.npz"),
            "processes": options.threads,
        }
        if case.test_file is None:
            request["test_indices"] = test.provenance.indices
        else:
            request["test_dataset"] = str(options.data / case.test_file)
        peer = run_peer("sgdml_train.py", request, threads=options.threads, watch_memory=False)
    given = {"length_scale": float(peer["length_scale"]), "regularization": REGULARIZATION}
    return {
        "label": case.label,
        "sizes": [len(parts.train), len(parts.valid), len(test)],
        "sgdml": {
            "force_mae": peer["test"]["force_mae"],
            "energy_mae": peer["test"]["energy_mae"],
            "length_scale": peer["length_scale"],
            "n_permutations": peer["n_permutations"],
            "seconds": peer["seconds"]["total"],
        },
        "same": train_and_test(parts, test, kernel="matern52", **given),
        "matern52": train_and_test(parts, test, kernel="matern52"),
        "auto": train_and_test(parts, test, kernel="auto"),
    }


def train_and_test(parts: kraft.Split, test: kraft.Dataset, **options: Any) -> Figures:
    """Train kraft and return its errors in kcal/mol and kcal/mol/Å."""
    start = time.perf_counter()
    model, result = kraft.train(parts.train, parts.valid, **options)
    seconds = time.perf_counter() - start
    errors = evaluate(model, test).in_units(KCAL)
    return {
        "force_mae": errors.force_mae,
        "energy_mae": errors.energy_mae,
        "kernel": result.choice.kernel,
        "length_scale": result.choice.length_scale,
        "regularization": result.choice.regularization,
        "n_permutations": len(result.permutations),
        "seconds": seconds,
    }


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    header = ("data, seed", "frames", "sgdml", *WAYS.values())
    parts = ["# Errors at equal training sets", "", "Made by `benchmarks/accuracy.py`.", ""]
    for key, title in (
        ("force_mae", "Force MAE, kcal/mol/Å (ratio to sgdml)"),
        ("energy_mae", "Energy MAE, kcal/mol (ratio to sgdml)"),
    ):
        lines = [_error_cells(name, row, key) for name, row in rows.items()]
        means = [
            geometric_mean(row[way][key] / row["sgdml"][key] for row in rows.values())
            for way in WAYS
        ]
        lines.append(["**mean ratio**", "", "", *(f"**{value:.3f}**" for value in means)])
        parts += [f"## {title}", "", table(header, lines)]
    parts += ["## Bars", "", table(("what", "measured", "bar", ""), _bars(rows))]
    parts += ["## What was chosen", "", table(header[:1] + header[2:], _choices(rows)), NOTES]
    return "\n".join(parts)


def _error_cells(name: str, row: Figures, key: str) -> list[str]:
    reference = row["sgdml"][key]
    cells = [f"{number(row[way][key])} ({row[way][key] / reference:.3f})" for way in WAYS]
    return [name, " + ".join(map(str, row["sizes"])), number(reference), *cells]


def _bars(rows: dict[str, Figures]) -> list[list[str]]:
    lines = []
    for way in ("same", "matern52"):
        worst = max(
            row[way][key] / row["sgdml"][key]
            for row in rows.values()
            for key in ("force_mae", "energy_mae")
        )
        lines.append(
            [
                f"{WAYS[way]}: largest ratio of all force and energy MAE",
                f"{worst:.3f}",
                f"{TOLERATED:g}",
                verdict(worst <= TOLERATED),
            ]
        )
    molecules: dict[str, list[float]] = {}
    for row in rows.values():
        ratio = row["auto"]["force_mae"] / row["sgdml"]["force_mae"]
        molecules.setdefault(row["label"], []).append(ratio)
    gain = 1.0 - mean(mean(ratios) for ratios in molecules.values())
    lines.append(
        [
            f"{WAYS['auto']}: force MAE below sgdml's, mean over molecules",
            f"{gain:.1%}",
            f"{WANTED_GAIN:.0%}",
            verdict(gain >= WANTED_GAIN),
        ]
    )
    return lines


def _choices(rows: dict[str, Figures]) -> list[list[str]]:
    lines = []
    for name, row in rows.items():
        peer = row["sgdml"]
        cells = [
            name,
            f"length scale {peer['length_scale']}, S {peer['n_permutations']}, "
            f"{peer['seconds']:.0f} s",
        ]
        for way in WAYS:
            ours = row[way]
            cells.append(
                f"{ours['kernel']}, length scale {ours['length_scale']:.3g}, "
                f"λ {ours['regularization']:.1e}, S {ours['n_permutations']}, "
                f"{ours['seconds']:.0f} s"
            )
        lines.append(cells)
    return lines


NOTES = """\
Frames are training + validation + test, disjoint and the same for both sides. sgdml tries the
length scales 10, 20, ..., 90 (its default) in this order until the validation error rises, and
keeps the one with the smallest force RMSE; its regularization is 1e-10. Length scales are in 1/Å,
λ is the regularization, S the number of symmetries, and the time is that of the training with all
its choices, on all threads. MAE of forces is over Cartesian components.
"""


if __name__ == "__main__":
    main()
