"""Split predictions by atoms: a donor-bridge-acceptor molecule (paper 000, figure 5), a cumulene.

Writes ``docs/benchmarks/contributions.md``. The reference data of the first molecule are made with
tblite and kept, like the model, in a folder, so an interrupted run goes on where it was.

    python benchmarks/contributions.py
    python benchmarks/contributions.py --case cumulene
    python benchmarks/contributions.py --render
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from donor_acceptor import reference
from donor_acceptor.molecule import Array, Stilbene, stilbene
from donor_acceptor.page import render
from reporting import Figures, Page, arguments

import kraft
from kraft.analysis.contributions import atom_contributions, energy_shares, participation
from kraft.analysis.errors import ErrorReport, evaluate
from kraft.analysis.path_contributions import path_contributions
from kraft.data import Provenance
from kraft.data.geometry import pair_distances

KCAL = kraft.Units("kcal/mol")
CUMULENE = "data/cumulene_C9H4_torsion_profile.npz"
TURNED = ("ethylene, acceptor's phenylene", "ethylene, donor's phenylene")
"""Bonds whose rotation is followed; the paper's is the first."""

FINER = 5
"""Steps of a path between the geometries that are shown."""

METHYL_BOND = (25, 26)
LENGTH_SCALE = 10.0
STILL = 1e-6
"""Standard deviation (1/Å) below which a feature of the cumulene does not change."""

LOCAL_REACH = 6.0
"""Largest distance (Å) that the local model of the cumulene sees."""


def main() -> None:
    parser = arguments(__doc__, "contributions")
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--missing", action="store_true", help="skip cases that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    parser.add_argument("--folder", type=Path, help="where reference data and models are kept")
    parser.add_argument("--n-train", type=int, default=200, help="frames of the stilbene")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = options.folder or Path.home() / ".cache" / "kraft-benchmarks" / "contributions"
    if options.quick:
        with tempfile.TemporaryDirectory() as scratch:
            page = Page(options.output, quick=True, threads=options.threads)
            if (options.data / CUMULENE).exists():
                page.add("cumulene", cumulene(Path(scratch), options.data, 10))
            page.write(lambda rows: render(rows, Path(scratch)))
        return
    for name in [] if options.render else options.case:
        page = Page(options.output, quick=False, threads=options.threads)
        if options.missing and page.has(name):
            continue
        page.add(name, CASES[name](folder / name, options.data, options.n_train))
        page.write(lambda rows: render(rows, options.output.parent))
    if options.render:
        page = Page(options.output, quick=False, threads=options.threads)
        page.write(lambda rows: render(rows, options.output.parent))


def donor_acceptor(folder: Path, _: Path, n_train: int) -> Figures:
    """Label, train, and follow rotations and a stretched bond of the stilbene."""
    molecule = stilbene()
    n_valid, n_test = min(60, n_train), min(200, n_train)
    made = reference.frames(molecule, n_train + n_valid + n_test, folder)
    data = kraft.Dataset(
        molecule.atomic_numbers, made["R"], made["F"], made["E"], units=KCAL,
        provenance=Provenance("dimethylaminonitrostilbene", reference.THEORY),
    )  # fmt: skip
    ends = np.cumsum([n_train, n_valid, n_test])
    train, valid, test = (data.subset(part) for part in np.split(np.arange(ends[-1]), ends[:-1]))
    path = folder / f"model-{n_train}.safetensors"
    seconds = None
    if not path.exists():
        state = path.with_suffix(".state.safetensors")
        started = time.perf_counter()
        model, _result = kraft.train(
            train, valid, kernel="matern52", permutations=molecule.permutations,
            checkpoint=state, resume=True,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        model.save(path)
        state.unlink(missing_ok=True)
    model = kraft.load(path)
    errors = evaluate(model, test).in_units(KCAL)
    degrees = np.arange(0.0, 361.0, 10.0)
    return {
        "label": "4-dimethylamino-4'-nitrostilbene",
        "theory": reference.THEORY,
        "atomic_numbers": molecule.atomic_numbers.tolist(),
        "positions": reference.minimum(molecule, folder).round(5).tolist(),
        "parts": molecule.parts,
        "n_train": n_train,
        "n_test": n_test,
        "n_permutations": len(model.permutations),
        "kernel": model.parameters.kernel,
        "length_scale": model.parameters.length_scale,
        "regularization": model.parameters.regularization,
        "seconds": seconds,
        "errors": _errors(errors),
        "cost": _cost(model, test.positions),
        "rotations": {bond: _rotation(model, molecule, bond, degrees, folder) for bond in TURNED},
        "stretch": _stretch(model, molecule, folder),
        "thermal": _thermal(model, test.positions),
    }


def _rotation(
    model: kraft.ForceField, molecule: Stilbene, bond: str, degrees: Array, folder: Path
) -> Figures:
    found = reference.profile(molecule, bond, degrees, folder)
    fine = np.linspace(degrees[0], degrees[-1], FINER * (len(degrees) - 1) + 1)
    path = reference.turns(molecule, bond, fine, folder)
    return {
        "atoms": list(molecule.single_bonds[bond]),
        "degrees": degrees.tolist(),
        "reference": _relative(found["E"]),
        **_followed(model, path, FINER),
    }


def _stretch(model: kraft.ForceField, molecule: Stilbene, folder: Path) -> Figures:
    steps = np.linspace(0.0, 0.1, 11)
    path = reference.stretch(molecule, METHYL_BOND, steps, folder)
    energies = reference.label(molecule, path, folder / "stretches.npz")
    return {
        "steps": steps.tolist(),
        "reference": _relative(energies),
        **_followed(model, path),
    }


def _thermal(model: kraft.ForceField, positions: Array) -> Figures:
    """Return how the atoms share in the changes of the energy over the test frames."""
    shares = energy_shares(atom_contributions(model, positions, forces=False).energies)
    return {"shares": shares.round(5).tolist(), "participation": participation(shares)}


def cumulene(folder: Path, data: Path, n_train: int) -> Figures:
    """Train a global and a local model on the torsion profile, and split both by atoms."""
    source = data / CUMULENE
    if not source.exists():
        raise SystemExit(f"there is no {source}: set KRAFT_REFERENCE_DATA or --data")
    del folder
    dataset = kraft.read(source)
    train_on = np.unique(np.linspace(0, len(dataset) - 1, min(n_train, 50)).astype(int))
    rest = np.setdiff1d(np.arange(len(dataset)), train_on)
    train, test = dataset.subset(train_on), dataset.subset(rest)
    path = dataset.subset(np.linspace(0, len(dataset) - 1, 226).astype(int))
    distances = pair_distances(dataset.positions)
    near = distances.max(axis=0) < LOCAL_REACH
    spread = (1.0 / distances).std(axis=0)
    weights = np.where(spread > STILL, LENGTH_SCALE / (5.0 * spread[spread > STILL].mean()), 1.0)
    models = {}
    for name, features in (("global", None), ("local", np.flatnonzero(near))):
        model, _ = kraft.train(
            train, kernel="matern52", length_scale=LENGTH_SCALE, regularization=1e-8,
            features=features, feature_weights=weights if features is None else None,
        )  # fmt: skip
        models[name] = {
            "n_features": model.parameters.training_descriptors.shape[1],
            "errors": _errors(evaluate(model, test).in_units(KCAL)),
            "n_permutations": len(model.permutations),
            **_followed(model, path.positions, FINER),
        }
    return {
        "label": "cumulene C9H4",
        "theory": dataset.provenance.theory,
        "atomic_numbers": dataset.atomic_numbers.tolist(),
        "positions": dataset.positions[-1].round(5).tolist(),
        "n_train": len(train),
        "n_test": len(test),
        "weight": float(weights.max()),
        "degrees": _torsion(path.positions[::FINER]).round(3).tolist(),
        "reference": _relative(path.energies)[::FINER],
        "reach": LOCAL_REACH,
        "models": models,
    }


def _followed(model: kraft.ForceField, path: Array, every: int = 1) -> Figures:
    """Return the energies along a path and the parts of the atoms in the largest, in kcal/mol."""
    shown = path[::every]
    predicted = model.predict(shown)
    changes = (predicted.energies - predicted.energies[0]) / KCAL.energy_factor
    top = int(np.argmax(np.abs(changes)))
    along = path_contributions(model, path)[::every] / KCAL.energy_factor
    splits = {"path": _split(along[top], along[top])}
    sums = 0.0
    for partition in ("pairs", "coefficients"):
        found = atom_contributions(model, shown, partition=partition)
        values = found.energies / KCAL.energy_factor
        splits[partition] = _split(values[top] - values[0], values[top])
        sums = max(sums, float(np.abs(found.prediction.energies - predicted.energies).max()))
        sums = max(sums, float(np.abs(found.prediction.forces - predicted.forces).max()))
    return {
        "model": changes.round(5).tolist(),
        "top": top,
        "along": along.round(4).tolist(),
        "splits": splits,
        "adds_up_to": sums,
        "path_adds_up_to": float(np.abs(along.sum(axis=1) - changes).max()),
    }


def _split(changes: Array, values: Array) -> Figures:
    return {
        "changes": changes.round(4).tolist(),
        "participation": participation(changes),
        "largest_change": float(np.abs(changes).max()),
        "largest": float(np.abs(values).max()),
    }


def _relative(energies: Array | None, origin: int = 0) -> list[float]:
    if energies is None:
        raise SystemExit("the reference data have no energies")
    relative: list[float] = ((energies - energies[origin]) / KCAL.energy_factor).round(5).tolist()
    return relative


def _errors(errors: ErrorReport) -> Figures:
    return {
        "energy_mae": errors.energy_mae,
        "force_mae": errors.force_mae,
        "energy_spread": errors.energy_spread,
        "force_spread": errors.force_spread,
    }


def _cost(model: kraft.ForceField, positions: Array) -> Figures:
    """Return processor seconds a geometry of a batch: best of three."""
    some = positions[:64]
    jobs = {
        "predict": lambda: model.predict(some),
        "energies": lambda: atom_contributions(model, some, forces=False),
        "forces": lambda: atom_contributions(model, some),
    }
    times: Figures = {}
    for name, job in jobs.items():
        job()
        spans = []
        for _ in range(3):
            started = time.process_time()
            job()
            spans.append(time.process_time() - started)
        times[name] = min(spans) / len(some)
    return times


def _torsion(positions: Array) -> Array:
    """Return the angle in degrees between the planes of the cumulene's ends, ``(T,)``."""
    axis = positions[:, 12] - positions[:, 0]
    axis = axis / np.linalg.norm(axis, axis=1)[:, None]
    sides = []
    for one, other in ((1, 2), (10, 11)):
        side = positions[:, one] - positions[:, other]
        side = side - (side * axis).sum(axis=1)[:, None] * axis
        sides.append(side / np.linalg.norm(side, axis=1)[:, None])
    cosine = np.abs((sides[0] * sides[1]).sum(axis=1)).clip(0.0, 1.0)
    angles: Array = np.degrees(np.arccos(cosine))
    return angles


CASES = {"stilbene": donor_acceptor, "cumulene": cumulene}

if __name__ == "__main__":
    main()
