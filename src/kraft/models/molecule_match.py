"""Whether a geometry is the model's molecule, with its atoms in the model's order.

Positions are numbers without names: with two atoms exchanged a model answers all the same, and the
answer is wrong. Two checks find that out. :func:`check_elements` compares atomic numbers and costs
next to nothing. :func:`check_order` compares a geometry with the training geometries: the range
that every distance spans there, and the handedness of bonded centers (as in
:mod:`kraft.symmetry.verification`). It refuses only where another order fits clearly better, so
that strained geometries pass, however far from the training geometries they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.models.force_field import ForceField
from kraft.symmetry.distances import distance_matrices
from kraft.symmetry.matching import match_pairs, permute_matrices
from kraft.symmetry.orbits import feature_permutations, pair_indices
from kraft.symmetry.verification import VisitedRegion, signed_volumes

SLACK = 0.15
"""A distance may leave its range in the training geometries by this factor and count as inside."""

MISFIT_TO_DOUBT = 0.4
"""Below this misfit no other order is looked for."""

CLEARLY_BETTER = 0.25
"""An order explains a misfit when it leaves at most this fraction of it."""

_HANDEDNESS_WEIGHT = 0.5
_CLEAR_VOLUME = 0.2
_MAX_REFERENCES = 200
_MAX_MATCHED = 60
_MAX_ROUNDS = 20
_MAX_STARTS = 5
_MIN_PROGRESS = 0.97
_MANY_EXCHANGES = 600
_N_ODDEST = 8
_CHUNK_ENTRIES = 4_000_000


def check_molecule(
    force_field: ForceField, atomic_numbers: ArrayLike, positions: ArrayLike | None = None
) -> None:
    """Raise unless the atoms are those of the model, in the model's order.

    Parameters
    ----------
    force_field
        The model.
    atomic_numbers
        ``(N,)`` atomic numbers.
    positions
        ``(N, 3)`` one geometry in Å. With it like atoms that have changed places are found as well,
        and the order that the model needs is given for all atoms.

    Raises
    ------
    GeometryError
        When the atoms are others or stand in another order; the message gives the order to bring
        them into.
    """
    check_elements(force_field, atomic_numbers, positions)
    if positions is not None:
        check_order(force_field, positions)


def check_elements(
    force_field: ForceField, atomic_numbers: ArrayLike, positions: ArrayLike | None = None
) -> None:
    """Raise unless the atomic numbers ``(N,)`` are the model's, one by one.

    ``positions`` (N, 3) in Å are only looked at for the advice.

    Raises
    ------
    GeometryError
        When the atoms are others or stand in another order.
    """
    numbers, expected = np.asarray(atomic_numbers), force_field.atomic_numbers
    if numbers.shape == expected.shape and np.array_equal(numbers, expected):
        return
    if numbers.ndim != 1 or not np.array_equal(np.sort(numbers), np.sort(expected)):
        raise GeometryError(
            f"The model is for {_formula(expected)} ({len(expected)} atoms), but the atoms are "
            f"{_formula(numbers)} ({numbers.size} atoms). Expected the molecule that the model was "
            "trained on; train a model for this one."
        )
    order = _order_by_element(numbers, expected)
    fits = False
    if positions is not None and np.isfinite(positions).all():
        reference = OrderReference.of(force_field)
        order, misfit = reference.best_order(np.asarray(positions, dtype=np.float64), order)
        fits = misfit < MISFIT_TO_DOUBT
    certainty = (
        "in that order the geometry fits the training geometries"
        if fits
        else "atoms of one element may still have to change places, so compare with a training "
        "geometry"
    )
    raise GeometryError(
        f"The atoms are those of the model ({_formula(expected)}) in another order: the model "
        f"needs {_symbols(expected)}, but they come as {_symbols(numbers)}. Reorder them, "
        f"atoms = atoms[{order.tolist()}]; {certainty}."
    )


def check_order(force_field: ForceField, positions: ArrayLike) -> None:
    """Raise when the atoms of a geometry fit the model clearly better in another order.

    Parameters
    ----------
    force_field
        The model.
    positions
        ``(N, 3)`` in Å, atoms of the model's elements one by one.

    Raises
    ------
    GeometryError
        When like atoms seem to have changed places; the message gives the order to bring them into.
    """
    OrderReference.of(force_field).check(np.asarray(positions, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class OrderReference:
    """What the training geometries tell about the order of atoms; made once, used for many checks.

    Equivalent atoms are treated alike.

    Attributes
    ----------
    atomic_numbers
        ``(N,)``.
    permutations
        ``(S, N)`` group of the model.
    lower, upper
        ``(N, N)`` Å: range of each distance, one on the diagonal.
    distances
        ``(K, N, N)`` Å of some training geometries.
    region
        Their handed centers.
    cell
        ``(3, 3)`` Å or None.
    """

    atomic_numbers: IntArray
    permutations: IntArray
    lower: FloatArray
    upper: FloatArray
    distances: FloatArray
    region: VisitedRegion
    cell: FloatArray | None

    @classmethod
    def of(cls, force_field: ForceField) -> OrderReference:
        """Collect it from a model."""
        p = force_field.parameters
        known, table = p.training_distances, feature_permutations(p.permutations)
        lower = known.min(axis=0)[table].min(axis=0)
        upper = known.max(axis=0)[table].max(axis=0)
        some = np.unique(np.linspace(0, p.n_train - 1, min(p.n_train, _MAX_REFERENCES), dtype=int))
        distances = _matrices(known[some], p.n_atoms)
        for matrix in distances:
            np.fill_diagonal(matrix, 0.0)
        if p.training_positions is not None:
            positions = p.training_positions[some]
        else:
            positions = _embed(distances)  # exact up to rotation and mirror image without a cell
        region = VisitedRegion.of(positions, distances, p.atomic_numbers, p.cell)
        return cls(
            atomic_numbers=p.atomic_numbers,
            permutations=p.permutations,
            lower=_matrices(lower[None], p.n_atoms)[0],
            upper=_matrices(upper[None], p.n_atoms)[0],
            distances=distances,
            region=region,
            cell=p.cell,
        )

    def check(self, geometry: FloatArray) -> None:
        """Raise GeometryError when ``(N, 3)`` in Å fits clearly better in another order."""
        if geometry.shape != (len(self.atomic_numbers), 3) or not np.isfinite(geometry).all():
            return  # the model itself refuses these, and says why
        identity = np.arange(len(geometry))
        misfit = float(self.misfits(geometry, identity[None])[0])
        if misfit < MISFIT_TO_DOUBT:
            return
        order, remaining = self.best_order(geometry, identity)
        if remaining > CLEARLY_BETTER * misfit:
            return
        moved = np.flatnonzero(order != identity)
        fits = "fits the training geometries"
        if remaining > MISFIT_TO_DOUBT:
            fits = "fits them better, though not well"
        names = ", ".join(f"{chemical_symbols[self.atomic_numbers[a]]}{a}" for a in moved)
        raise GeometryError(
            f"The elements are in the model's order, but atoms of one element seem to have changed "
            f"places ({names}, counted from 0): {self.symptom(geometry)} In another order the "
            f"geometry {fits}: reorder the atoms, atoms = "
            f"atoms[{order.tolist()}]. If this geometry is meant as it is, switch the check off "
            "(check_order=False)."
        )

    def misfits(self, positions: FloatArray, orders: IntArray) -> FloatArray:
        """Return how badly ``(N, 3)`` fits in each of the orders ``(P, N)``; 0 is a good fit.

        The sum of the logarithms by which distances leave their ranges, and of a penalty for each
        center whose handedness is wrong, whole mirror images allowed.
        """
        matrix = distance_matrices(positions[None], self.cell)[0]
        misfits = np.empty(len(orders))
        chunk = max(1, _CHUNK_ENTRIES // matrix.size)
        for begin in range(0, len(orders), chunk):
            rows = orders[begin : begin + chunk]
            ordered = permute_matrices(np.broadcast_to(matrix, (len(rows), *matrix.shape)), rows)
            outside = self._excess(ordered).sum(axis=(1, 2)) / 2.0
            volumes = signed_volumes(positions[rows], self.region.quadruples, self.cell)
            volumes = volumes * self.region.handedness
            wrong = (volumes < -_CLEAR_VOLUME).sum(axis=1)
            mirrored = (volumes > _CLEAR_VOLUME).sum(axis=1)
            misfits[begin : begin + chunk] = outside + _HANDEDNESS_WEIGHT * np.minimum(
                wrong, mirrored
            )
        return misfits

    def _excess(self, matrices: FloatArray) -> FloatArray:
        """Return by how much the logarithm of each distance is outside its range, less a slack."""
        safe = np.maximum(matrices, 1e-3) + np.eye(matrices.shape[-1])
        excess = np.maximum(np.log(self.lower / safe), np.log(safe / self.upper)) - SLACK
        outside: FloatArray = np.maximum(excess, 0.0)
        return outside

    def best_order(self, positions: FloatArray, start: IntArray) -> tuple[IntArray, float]:
        """Return the best order ``(N,)`` found, and its misfit; ``start`` has elements in order."""
        started = positions[start]
        matrix = distance_matrices(started[None], self.cell)
        spaced = np.linspace(0, len(self.distances) - 1, min(len(self.distances), _MAX_MATCHED))
        references = self.distances[np.unique(spaced.astype(np.int64))]
        pairs = (
            np.zeros(len(references), dtype=np.int64),
            np.arange(1, len(references) + 1, dtype=np.int64),
        )
        matches = match_pairs(np.concatenate([matrix, references]), self.atomic_numbers, pairs)
        in_order = np.arange(len(start))[None]
        orders = np.unique(np.concatenate([in_order, matches.permutations]), axis=0)
        misfits = self.misfits(started, orders)
        best, misfit = in_order[0], float("inf")
        # As they stand first, in case only two atoms have changed places.
        starts = [in_order[0], *orders[np.argsort(misfits, kind="stable")[:_MAX_STARTS]]]
        for candidate in starts:
            value = float(self.misfits(started, candidate[None])[0])
            found, value = self._exchange(started, candidate, value)
            if value < misfit:
                best, misfit = found, value
            if misfit < 0.5 * MISFIT_TO_DOUBT:
                break
        # Equivalent atoms may follow in any order of the group: move as few atoms as possible.
        equivalent = np.asarray(start)[best[self.permutations]]
        order: IntArray = equivalent[(equivalent == in_order).sum(axis=1).argmax()]
        return order, misfit

    def _exchange(
        self, positions: FloatArray, order: IntArray, misfit: float
    ) -> tuple[IntArray, float]:
        """Lower the misfit by exchanging two atoms of one element, as long as that helps."""
        for _ in range(_MAX_ROUNDS):
            first, second = self._exchangeable(positions[order])
            if misfit < 1e-9 or not len(first):
                break
            orders = np.tile(order, (len(first), 1))
            rows = np.arange(len(first))
            orders[rows, first], orders[rows, second] = order[second], order[first]
            misfits = self.misfits(positions, orders)
            k = int(misfits.argmin())
            if misfits[k] >= _MIN_PROGRESS * misfit:
                break
            order, misfit = orders[k], float(misfits[k])
        return order, misfit

    def _exchangeable(self, positions: FloatArray) -> tuple[IntArray, IntArray]:
        """Return pairs of like atoms; in a large molecule those of the oddest atoms only."""
        first, second = pair_indices(len(positions))
        alike = self.atomic_numbers[first] == self.atomic_numbers[second]
        if alike.sum() > _MANY_EXCHANGES:
            oddness = self._excess(distance_matrices(positions[None], self.cell))[0].sum(axis=1)
            odd = np.zeros(len(positions), dtype=bool)
            odd[np.argsort(-oddness)[:_N_ODDEST]] = True
            alike &= odd[first] | odd[second]
        return first[alike], second[alike]

    def symptom(self, positions: FloatArray) -> str:
        """Return a sentence on what is oddest about a geometry."""
        matrix = distance_matrices(positions[None], self.cell)
        excess = self._excess(matrix)[0]
        if excess.max() <= 0.0:
            return (
                "a center has its neighbors in the mirrored arrangement (all distances are as in "
                "the training geometries)."
            )
        a, b = sorted(int(i) for i in np.unravel_index(excess.argmax(), excess.shape))
        names = [f"{chemical_symbols[self.atomic_numbers[i]]}{i}" for i in (a, b)]
        return (
            f"the distance {names[0]}-{names[1]} is {matrix[0, a, b]:.2f} Å, in the training "
            f"geometries {self.lower[a, b]:.2f} to {self.upper[a, b]:.2f} Å."
        )


def _matrices(features: FloatArray, n_atoms: int) -> FloatArray:
    """Return pair features ``(K, D)`` as symmetric matrices ``(K, N, N)``, one on the diagonal."""
    matrices = np.ones((len(features), n_atoms, n_atoms))
    first, second = pair_indices(n_atoms)
    matrices[:, first, second] = matrices[:, second, first] = features
    return matrices


def _embed(distances: FloatArray) -> FloatArray:
    """Return positions ``(K, N, 3)`` that have these distances (classical scaling)."""
    squared = distances**2
    rows = squared.mean(axis=2, keepdims=True)
    gram = -0.5 * (squared - rows - rows.transpose(0, 2, 1) + rows.mean(axis=1, keepdims=True))
    values, vectors = np.linalg.eigh(gram)
    n_axes = min(3, distances.shape[1])
    positions = np.zeros((*distances.shape[:2], 3))
    positions[:, :, :n_axes] = vectors[:, :, -n_axes:] * np.sqrt(
        np.maximum(values[:, None, -n_axes:], 0.0)
    )
    return positions


def _order_by_element(numbers: AnyArray, expected: IntArray) -> IntArray:
    """Return the order ``(N,)`` that brings the elements into place, like atoms as they come."""
    order = np.empty(len(expected), dtype=np.int64)
    order[np.argsort(expected, kind="stable")] = np.argsort(numbers, kind="stable")
    return order


def _symbols(numbers: AnyArray) -> str:
    return " ".join(chemical_symbols[int(number)] for number in numbers)


def _formula(numbers: AnyArray) -> str:
    symbols = [chemical_symbols[int(number)] for number in numbers.reshape(-1)]
    return str(Formula.from_list(symbols).format("hill")) if symbols else "no atoms"
