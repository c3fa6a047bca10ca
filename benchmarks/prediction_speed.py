"""Measure how long a prediction takes, in kraft and in sgdml, with one and the same model.

The models are sgdml files with random coefficients, which cost the same as trained ones, on real
molecules and their symmetries; kraft imports the file. Writes ``docs/benchmarks/prediction.md``.

    python benchmarks/prediction_speed.py
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers.environment import run_measured
from peers.fastest import sgdml_predictions
from peers.synthetic_model import synthetic_positions, write_synthetic_model
from reporting import Figures, Page, arguments, number, scratch, table, verdict

import kraft
import kraft.datasets
from kraft.symmetry.group import closure

BATCH = 64
CARBON_HYDROGEN = 1.3  # Å, longest bond
EFFICIENCY_BAR = 0.60
EFFICIENCY_FEATURES = 210
AGREEMENT = 1e-9
KRAFT_SCRIPT = Path(__file__).parent / "peers" / "kraft_predict.py"

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A molecule, the size of its model, and how many times faster kraft has to be."""

    name: str
    file: str | None
    n_atoms: int
    n_permutations: int
    n_train: int
    bars: tuple[float, float] | None
    slow: bool = False


CASES = {
    case.name: case
    for case in (
        Case("ethanol", None, 9, 6, 1000, (8.0, 15.0)),
        Case("aspirin", "data/aspirin_ccsd_train.npz", 21, 6, 1000, (6.0, 30.0)),
        Case("ac-ala3-nhme", "data/ac_ala3_nhme_gfn2.npz", 42, 18, 1000, (20.0, 20.0), slow=True),
        Case("catcher", "data/catcher_gfn2.npz", 148, 1, 600, None, slow=True),
    )
}


def main() -> None:
    parser = arguments(__doc__, "prediction")
    parser.add_argument("--cases", nargs="+", choices=CASES, help="all by default")
    parser.add_argument("--seconds", type=float, default=0.4, help="least time for each figure")
    options = parser.parse_args()
    page = Page(options.output, quick=options.quick, threads=options.threads)
    for name in options.cases or (["ethanol"] if options.quick else list(CASES)):
        page.add(name, measure(CASES[name], options))
        page.write(render)  # kept, should the rest be interrupted


def measure(case: Case, options: Any) -> Figures:
    """Time both sides on one model: kraft, sgdml, kraft again, a process each."""
    n_train = 20 if options.quick else case.n_train
    seconds = 0.02 if options.quick else options.seconds
    batch = 4 if options.quick else BATCH
    molecule, permutations = molecule_of(case, options.data)
    with scratch() as name:
        folder = Path(name)
        model = write_synthetic_model(
            folder / "model.npz",
            case.n_atoms,
            case.n_permutations,
            n_train,
            molecule=molecule,
            permutations=permutations,
        )
        positions = folder / "positions.npz"
        queries = synthetic_positions(case.n_atoms, batch, molecule=molecule)
        np.savez(positions, positions=queries)
        request = {
            "model": str(model),
            "positions": str(positions),
            "batch_sizes": [1, batch],
            "min_seconds": 2 * seconds,
            "peak": True,
            "predictions": str(folder / "ours.npz"),
        }

        def kraft_side(threads: int) -> dict[str, Any]:
            return run_measured(
                sys.executable, KRAFT_SCRIPT, request, threads=threads, watch_memory=False
            )

        runs = [kraft_side(options.threads)]
        peer = sgdml_predictions(
            model,
            positions,
            batch_sizes=(1, batch),
            threads=options.threads,
            min_seconds=seconds,
            slow=case.slow,
            predictions=folder / "theirs.npz",
        )
        runs.append(kraft_side(options.threads))
        alone = kraft_side(1)
        difference = disagreement(folder / "ours.npz", folder / "theirs.npz")
    if not difference < AGREEMENT:
        raise SystemExit(f"{case.name}: the two sides differ by {difference:.1e} of a force")
    return {
        "kraft": runs,
        "kraft_one_thread": alone,
        "sgdml": {key: peer[key] for key in ("microseconds_per_geometry", "medians")},
        "sgdml_settings": [run["settings"] for run in peer["runs"]],
        "difference": difference,
        "batch": batch,
        "n_train": n_train,
        "real": molecule is not None,
        "threads": options.threads,
    }


def molecule_of(case: Case, data: Path) -> tuple[Array | None, Array | None]:
    """Return a geometry (N, 3) and a group of permutations, or None where data are absent."""
    path = Path(kraft.datasets.__file__).with_name("ethanol_gfn2.npz")
    if case.file is not None:
        path = data / case.file
    if not path.exists():
        print(f"{case.name}: no {path.name}, atoms are placed at random", file=sys.stderr)
        return None, None
    dataset = kraft.read(path)
    molecule = dataset.positions[0]
    if case.n_permutations == 1:
        return molecule, np.arange(case.n_atoms)[None]
    if case.n_permutations == 18:
        return molecule, turns_of_methyls(molecule, dataset.atomic_numbers)
    found = kraft.find_permutations(dataset.positions[:200], dataset.atomic_numbers)
    return molecule, found.permutations


def turns_of_methyls(molecule: Array, numbers: Array) -> Array:
    """Return the turns of two methyl groups and an exchange in a third: 18 permutations."""
    distances = np.linalg.norm(molecule[:, None] - molecule, axis=-1)
    bonded = (distances < CARBON_HYDROGEN) & (numbers == 1)
    methyls = [np.flatnonzero(bonded[c]) for c in np.flatnonzero(numbers == 6)]
    methyls = [hydrogens for hydrogens in methyls if len(hydrogens) == 3]
    generators = np.tile(np.arange(len(numbers)), (3, 1))
    for row, hydrogens in zip(generators[:2], methyls, strict=False):
        row[hydrogens] = np.roll(hydrogens, 1)
    generators[2, methyls[2][:2]] = methyls[2][[1, 0]]
    return closure(generators)


def disagreement(ours: Path, theirs: Path) -> float:
    """Return the largest difference of forces relative to the largest force."""
    with np.load(ours) as left, np.load(theirs) as right:
        difference = np.abs(left["forces"].ravel() - right["forces"].ravel()).max()
        return float(difference / np.abs(right["forces"]).max())


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    lines = [speed_cells(CASES[name], row, which) for which in (0, 1) for name, row in rows.items()]
    header = ["model", "geometries", "sgdml, documented", "sgdml, best found", "kraft"]
    header += ["kraft, one thread", "ratio, documented", "ratio, best found", "bar"]
    return "\n".join(
        [
            "# Time of a prediction",
            "",
            "Made by `benchmarks/prediction_speed.py`. Microseconds per geometry, energies and",
            "forces: the shortest time, in parentheses the median.",
            "",
            table(header, lines),
            NOTES,
            "## Matrix-product efficiency of kraft's batches",
            "",
            table(
                EFFICIENCY_HEADER,
                [efficiency_cells(CASES[name], row) for name, row in rows.items()],
            ),
            EFFICIENCY_NOTES,
        ]
    )


NOTES = """\
*Documented* is the best of what a user of sgdml is offered: the predictor as constructed, with one
process, after `prepare_parallel`, and with `use_torch`, each with one and with all threads. *Best
found* adds a sweep over workers, chunks and bulk mode through sgdml's private methods and, for
batches, a loop over single geometries. The ratios are of the shortest times, and so is the bar,
which is held against *best found*. kraft's time is that of `ForceField.predict` with all threads,
from two processes, one before and one after sgdml's. The two sides' forces agree to 1e-9 of the
largest. Random coefficients on real geometries and symmetries: ethanol's and aspirin's are found in
their data; Ac-Ala3-NHMe has the turns of two methyl groups and an exchange in a third (3 x 3 x 2);
the catcher has none.
"""

EFFICIENCY_HEADER = (
    *("model", "features", "operations per geometry", "8 S M D", "GFLOP/s", "peak"),
    *("efficiency", "efficiency, nominal", "bar"),
)

EFFICIENCY_NOTES = """\
GFLOP/s of the products that are carried out, over the whole time of a prediction in a batch. The
peak is that of a product of two 2048 x 2048 float64 matrices in the same process. Features that
several permutations act upon alike are multiplied once, so fewer operations are carried out than
the nominal 8 S M D (four products with M rows of D features for each of S permutations); the
nominal efficiency may exceed one.
"""


def speed_cells(case: Case, row: Figures, which: int) -> list[str]:
    """Return the cells for single geometries (0) or batches (1)."""
    size = str((1, row["batch"])[which])
    times, medians = row["sgdml"]["microseconds_per_geometry"][size], row["sgdml"]["medians"][size]
    documented = times["documented"]
    best = times.get("fastest_or_one_by_one", times["fastest"])
    path = min((key for key in medians if key != "numpy_best"), key=lambda key: times[key])
    ours = min(run["microseconds_per_geometry"][size] for run in row["kraft"])
    middle = median(run["medians"][size] for run in row["kraft"])
    alone = row["kraft_one_thread"]
    bar = "none"
    if case.bars is not None:
        bar = f"{case.bars[which]:g}: {verdict(best / ours >= case.bars[which])}"
    sizes = f"N = {case.n_atoms}, S = {case.n_permutations}, M = {row['n_train']}"
    return [
        f"{case.name}, {sizes}" + ("" if row["real"] else ", atoms at random"),
        size,
        f"{number(documented)} ({number(medians[path])}), {path}",
        f"{number(best)}",
        f"{number(ours)} ({number(middle)})",
        f"{number(alone['microseconds_per_geometry'][size])} ({number(alone['medians'][size])})",
        number(documented / ours),
        number(best / ours),
        bar,
    ]


def efficiency_cells(case: Case, row: Figures) -> list[str]:
    """Return the cells of the efficiency of batches with all threads."""
    size = str(row["batch"])
    ours = min(row["kraft"], key=lambda run: run["microseconds_per_geometry"][size])
    seconds = 1e-6 * ours["microseconds_per_geometry"][size]
    peak = max(run["peak_flops"] for run in row["kraft"])
    rate = ours["flops_per_geometry"] / seconds
    n_features = case.n_atoms * (case.n_atoms - 1) // 2
    bar = "none below 210 features"
    if n_features >= EFFICIENCY_FEATURES:
        bar = f"{EFFICIENCY_BAR:.0%}: {verdict(rate / peak >= EFFICIENCY_BAR)}"
    return [
        case.name,
        str(n_features),
        f"{ours['flops_per_geometry']:.3g}",
        f"{ours['nominal_flops']:.3g}",
        number(rate / 1e9),
        number(peak / 1e9),
        f"{rate / peak:.0%}",
        f"{ours['nominal_flops'] / seconds / peak:.0%}",
        bar,
    ]


if __name__ == "__main__":
    main()
