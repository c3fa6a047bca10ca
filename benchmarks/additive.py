"""Measure sums of kernels over groups of four atoms against the one global kernel.

Prototypes with dense matrices, for ethanol and malonaldehyde: each kernel has one length scale and
one regularization, chosen on validation frames; features are inverse distances, with equal weights
or with those that kraft learned for its global kernel. Writes ``docs/benchmarks/additive.md``.

    python benchmarks/additive.py
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from metric import MOLECULES, N_TEST
from reporting import Figures, Page, arguments, number, table
from torch import Tensor

import kraft
from kraft.core.progress import silent
from kraft.data.geometry import duplicate_groups
from kraft.descriptors import FeatureMap
from kraft.kernels.geometries import ReducedGeometries
from kraft.models.metric import MetricOptions, learn_metric
from kraft.models.objective import TrainingArrays
from kraft.models.preparation import permutation_group, training_arrays
from kraft.models.selection import Request, choose
from kraft.symmetry.orbits import pair_indices

KCAL = kraft.Units("kcal/mol")
N_VALID = 100
KERNEL = "gaussian"
LENGTH_SCALES = tuple(2.0**k for k in (-2, -1, 0, 1, 2, 3))
"""Times the median distance of the features in a group."""
REGULARIZATIONS = tuple(10.0**k for k in range(-12, -3))
"""Relative to the mean diagonal."""
BOND = 1.25
"""Atoms closer than this times the sum of their covalent radii are bonded."""
TILE = 20

KINDS = {
    "global": "one kernel of all distances",
    "quadruples": "sum over all groups of four atoms",
    "connected": "sum over groups of four bonded atoms",
    "both": "one kernel of all distances and the sum over groups of four bonded atoms",
}


@dataclass(frozen=True, eq=False)
class Problem:
    """Frames, their features and Jacobians, and the groups of features of a kernel."""

    arrays: TrainingArrays
    sets: tuple[ReducedGeometries, ...]  # training, validation, test
    labels: tuple[Tensor, ...]  # (M, r) forces of each
    members: Tensor  # (D, G) 1 where a feature is in a group
    permutations: Tensor  # (S, D)


def main() -> None:
    parser = arguments(__doc__, "additive")
    parser.add_argument("--molecules", nargs="+", default=["ethanol", "malonaldehyde"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 100])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--missing", action="store_true", help="skip rows that have figures")
    parser.add_argument("--render", action="store_true", help="write the page, measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    page = Page(options.output, quick=options.quick, threads=options.threads)
    sizes = [12] if options.quick else options.sizes
    molecules = ["ethanol"] if options.quick else options.molecules
    kinds = ["connected"] if options.quick else options.kinds
    for name, size in [] if options.render else [(m, s) for m in molecules for s in sizes]:
        for kind in kinds:
            key = f"{name}, {size} frames, {kind}"
            if options.missing and page.has(key):
                continue
            page.add(key, measure(name, size, kind, options))
            page.write(render)
    page.write(render)


def measure(name: str, n_train: int, kind: str, options: Any) -> Figures:
    """Choose length scale and regularization, with equal and with learned weights, and test."""
    molecule = MOLECULES[name]
    dataset = kraft.read(options.data / molecule.train)
    different = np.flatnonzero(duplicate_groups(dataset) == np.arange(len(dataset)))
    order = np.random.default_rng([0, 3]).permutation(different)
    ends = np.cumsum([n_train, N_VALID, 20 if options.quick else N_TEST])
    parts = [dataset.subset(part) for part in np.split(order[: ends[-1]], ends[:-1])]
    group, _ = permutation_group(parts[0], "auto", None, 0, silent)
    arrays = training_arrays(parts[0], parts[1], group, None, 0.0, "cpu")
    choice = choose(arrays, Request(KERNEL), seed=0, progress=silent)
    options = MetricOptions(mixing_deviation=0.0)
    learned = learn_metric(
        arrays, np.arange(n_train), KERNEL, choice.length_scale, choice.regularization, options
    ).feature_weights
    members = _groups(dataset, kind)
    figures: Figures = {
        "molecule": name,
        "n_train": n_train,
        "kind": kind,
        "n_groups": int(members.shape[1]),
        "cost": float(members.sum() / len(members)),
    }
    for weights, values in (("equal", np.ones_like(learned)), ("learned", learned)):
        start = time.process_time()
        figures[weights] = _best(_problem(arrays, values, parts, members))
        figures[weights]["seconds"] = time.process_time() - start
    return figures


def _groups(dataset: kraft.Dataset, kind: str) -> Tensor:
    """Return ``(D, G)``, 1 where a feature is in a group."""
    n_atoms = dataset.n_atoms
    pairs = {pair: d for d, pair in enumerate(zip(*map(list, pair_indices(n_atoms)), strict=True))}
    groups = [] if kind in ("quadruples", "connected") else [range(n_atoms)]
    if kind != "global":
        bonds = None if kind == "quadruples" else _bonds(dataset)
        groups += [atoms for atoms in combinations(range(n_atoms), 4) if _connected(atoms, bonds)]
    members = torch.zeros(len(pairs), len(groups), dtype=torch.float64)
    for g, atoms in enumerate(groups):
        for pair in combinations(atoms, 2):
            members[pairs.get(pair, pairs.get(pair[::-1])), g] = 1.0
    return members


def _bonds(dataset: kraft.Dataset) -> set[tuple[int, int]]:
    from ase.data import covalent_radii

    radii = covalent_radii[dataset.atomic_numbers]
    positions = dataset.positions
    distances = np.median(
        np.linalg.norm(positions[:, :, None] - positions[:, None, :], axis=-1), axis=0
    )
    bonded = distances < BOND * (radii[:, None] + radii)
    return {(a, b) for a, b in combinations(range(len(radii)), 2) if bonded[a, b]}


def _connected(atoms: tuple[int, ...], bonds: set[tuple[int, int]] | None) -> bool:
    if bonds is None:
        return True
    found, new = set(), {atoms[0]}
    while new:
        found |= new
        new = {
            b for b in atoms for a in found if b not in found and (min(a, b), max(a, b)) in bonds
        }
    return len(found) == len(atoms)


def _problem(
    arrays: TrainingArrays, weights: np.ndarray, parts: list[kraft.Dataset], members: Tensor
) -> Problem:
    weighted = replace(arrays, feature_weights=weights)
    scale = torch.as_tensor(weights)
    center = torch.zeros_like(scale)
    sets = tuple(
        ReducedGeometries.from_positions(
            weighted.descriptor, torch.tensor(part.positions), FeatureMap(scale, center)
        )
        for part in parts
    )
    labels = tuple(
        one.reduce(torch.tensor(part.forces)) for one, part in zip(sets, parts, strict=True)
    )
    permutations = torch.as_tensor(np.array(arrays.feature_permutations))
    return Problem(weighted, sets, labels, members, permutations)


def _best(problem: Problem) -> Figures:
    """Return the force error on the test frames of what is best on the validation frames."""
    values = problem.sets[0].features.values
    typical = torch.stack(
        [torch.pdist(values[:, some.bool()]).median() for some in problem.members.T]
    )
    sizes = problem.members.sum(dim=0)
    for size in sizes.unique():  # one for all groups of a size: permutations exchange them
        typical[sizes == size] = typical[sizes == size].mean()
    training = problem.labels[0].reshape(-1)
    best: tuple[float, float, float] = (float("inf"), 0.0, 0.0)
    for factor in LENGTH_SCALES:
        matrix = covariances(problem, 0, typical * factor)
        validating = covariances(problem, 1, typical * factor)
        for relative in REGULARIZATIONS:
            coefficients = _solved(matrix, relative, training)
            if coefficients is not None:
                error = _force_mae(problem, 1, validating @ coefficients)
                best = min(best, (error, factor, relative))
    error, factor, relative = best
    coefficients = _solved(covariances(problem, 0, typical * factor), relative, training)
    assert coefficients is not None
    tested = covariances(problem, 2, typical * factor) @ coefficients
    return {
        "force_mae": _force_mae(problem, 2, tested),
        "valid_force_mae": error,
        "length_scale_factor": factor,
        "relative_regularization": relative,
    }


def _solved(matrix: Tensor, relative: float, labels: Tensor) -> Tensor | None:
    shifted = matrix + relative * matrix.diagonal().mean() * torch.eye(len(matrix)).to(matrix)
    factor, info = torch.linalg.cholesky_ex(shifted)
    if int(info):
        return None
    return torch.cholesky_solve(labels[:, None], factor)[:, 0]


def _force_mae(problem: Problem, which: int, predicted: Tensor) -> float:
    """Return the error in kcal/mol/Å; the net force and torque, as good as none, are left out."""
    labels = problem.labels[which]
    errors = problem.sets[which].expand(predicted.view_as(labels) - labels)
    return float(errors.abs().mean()) / KCAL.force_factor


def covariances(problem: Problem, which: int, length_scales: Tensor) -> Tensor:
    """Return the covariances of the forces of a set with those of the training frames."""
    rows, columns = problem.sets[which], problem.sets[0]
    size, width = rows.n_motions, columns.n_motions
    result = rows.basis.new_zeros(len(rows), size, len(columns), width)
    jacobians = columns.reduced_jacobians(slice(None))  # (M, D, r)
    for top in _pieces(len(rows)):
        own = rows.reduced_jacobians(top)
        for action in problem.permutations:
            result[top] += _tile(
                rows.features.values[top],
                own,
                columns.features.values[:, action],
                jacobians[:, action],
                problem.members,
                length_scales,
            )
    return result.view(len(rows) * size, -1)


def _tile(
    z: Tensor, own: Tensor, other: Tensor, jacobians: Tensor, members: Tensor, scales: Tensor
) -> Tensor:
    """Return ``Σ_g Z_iᵀ [k_g I/σ² - k_g δ_g δ_gᵀ/σ⁴] Z_j``, ``(T, r, M, r')``."""
    delta = z[:, None] - other  # (T, M, D)
    inverse = scales**-2
    kernel = torch.exp(-0.5 * (delta.square() @ members) * inverse)  # (T, M, G)
    shared = (kernel * inverse) @ members.T  # (T, M, D)
    weighted = shared[:, :, :, None] * jacobians  # (T, M, D, r')
    result = own.transpose(1, 2)[:, None] @ weighted  # (T, M, r, r')
    outer = kernel * inverse.square()
    sizes = members.sum(dim=0)
    for size in sizes.unique():
        groups = torch.nonzero(sizes == size)[:, 0]
        features = torch.stack([torch.nonzero(members[:, g])[:, 0] for g in groups])  # (g, k)
        some = delta[:, :, features]  # (T, M, g, k)
        left = some.transpose(1, 2) @ own[:, features]  # (T, g, M, r)
        right = some.permute(1, 2, 0, 3) @ jacobians[:, features]  # (M, g, T, r')
        left *= outer[:, :, groups].transpose(1, 2)[..., None]
        result -= left.permute(0, 2, 3, 1) @ right.permute(2, 0, 1, 3)
    return result.transpose(1, 2)


def _pieces(size: int) -> Iterator[slice]:
    for start in range(0, size, TILE):
        yield slice(start, min(start + TILE, size))


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    parts = ["# Sums of kernels over groups of atoms", "", "Made by `benchmarks/additive.py`.", ""]
    lines = [
        [
            MOLECULES[row["molecule"]].label,
            row["n_train"],
            KINDS[row["kind"]],
            row["n_groups"],
            number(row["cost"], 2),
            *(number(row[weights]["force_mae"]) for weights in ("equal", "learned")),
        ]
        for row in rows.values()
    ]
    header = ("data", "frames", "kernel", "groups", "times the cost", "equal weights", "learned")
    return "\n".join([*parts, table(header, lines), NOTES])


NOTES = f"""\
Force MAE in kcal/mol/Å on {N_TEST} other frames. All kernels are Gaussian and symmetric; the length
scale is a factor times the median distance of the features, averaged over groups of the same size,
and this factor and the regularization are those with the least error on {N_VALID} validation
frames. *Learned* are the weights that kraft learns for the one kernel of all distances from the
training frames. *Times the cost* is the number of features in all groups relative to that of the
one kernel, which is what a prediction costs.
"""


if __name__ == "__main__":
    main()
