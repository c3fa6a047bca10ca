"""Internal coordinates against ASE's and against finite differences."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import molecule

from kraft.analysis.trajectories import BondGraph
from kraft.core.errors import GeometryError, OptionError
from kraft.interfaces.surface import FixCoordinate, InternalCoordinate
from kraft.interfaces.surface.coordinates import check_value

ROWS = [(0, 1), (1, 2, 3), (3, 0, 2, 1)]


@pytest.fixture
def points():
    return 1.5 * np.random.default_rng(0).normal(size=(5, 3))


@pytest.mark.parametrize("cell", [None, 6.0 * np.eye(3)])
@pytest.mark.parametrize("row", ROWS)
def test_values_are_those_of_ase(points, row, cell):
    atoms = ase.Atoms("H5", points, cell=cell, pbc=cell is not None)
    mic = cell is not None
    wanted = {
        2: lambda: atoms.get_distance(*row, mic=mic),
        3: lambda: atoms.get_angle(*row, mic=mic),
        4: lambda: atoms.get_dihedral(*row, mic=mic),
    }[len(row)]()
    coordinate = InternalCoordinate(row, cell)
    assert coordinate.difference(coordinate.value(points), wanted) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("row", ROWS)
def test_gradients_are_finite_differences(points, row):
    coordinate = InternalCoordinate(row)
    numeric = np.zeros_like(points)
    for index in np.ndindex(points.shape):
        ahead, behind = points.copy(), points.copy()
        ahead[index] += 1e-5
        behind[index] -= 1e-5
        gap = coordinate.difference(coordinate.value(ahead), coordinate.value(behind))
        numeric[index] = gap / 2e-5
    np.testing.assert_allclose(
        coordinate.gradient(points), numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max()
    )


@pytest.mark.parametrize(("n", "value"), [(2, 1.9), (3, 95.0), (4, -70.0)])
def test_one_side_moves_as_a_piece(n, value):
    atoms = molecule("CH3CH2OH")
    graph = BondGraph.of(atoms.numbers, atoms.positions)
    bonded = sorted(map(tuple, graph.bonds.tolist()))
    row = {2: (0, 1), 3: (0, 1, 2), 4: (0, 1, 2, bonded_hydrogen(graph, 2))}[n]
    coordinate = InternalCoordinate(row)
    side = coordinate.movable(graph)
    moved = coordinate.moved(atoms.positions, value, side)
    assert coordinate.value(moved) == pytest.approx(value, abs=1e-9)
    rest = np.setdiff1d(np.arange(len(atoms)), side)
    np.testing.assert_array_equal(moved[rest], atoms.positions[rest])
    inside = [pair for pair in bonded if np.isin(pair, side).all()]
    for a, b in inside:
        assert np.linalg.norm(moved[a] - moved[b]) == pytest.approx(atoms.get_distance(a, b))


def bonded_hydrogen(graph, atom):
    return next(int(n) for n in graph.neighbors[atom] if graph.atomic_numbers[n] == 1)


def test_a_ring_has_no_side_to_move():
    atoms = molecule("C6H6")
    graph = BondGraph.of(atoms.numbers, atoms.positions)
    ring = InternalCoordinate((0, 1, 2, 3))
    assert ring.movable(graph) is None
    moved = ring.moved(atoms.positions, 12.0, None)
    assert ring.value(moved) == pytest.approx(12.0, abs=1e-8)


def test_the_constraint_keeps_the_value_and_takes_its_force():
    atoms = molecule("CH3CH2OH")
    coordinate = InternalCoordinate((1, 0, 2))
    constraint = FixCoordinate(coordinate, 104.0)
    new = atoms.positions + 0.05 * np.random.default_rng(1).normal(size=(9, 3))
    constraint.adjust_positions(atoms, new)
    assert coordinate.value(new) == pytest.approx(104.0, abs=1e-8)
    forces = np.random.default_rng(2).normal(size=(9, 3))
    constraint.adjust_forces(atoms, forces)
    assert np.vdot(forces, coordinate.gradient(atoms.positions)) == pytest.approx(0, abs=1e-9)


def test_what_makes_no_sense_is_refused():
    for row in [(0,), (0, 0), (0, 1, 2, 3, 4), (-1, 2)]:
        with pytest.raises(OptionError):
            InternalCoordinate(row)
    line = np.arange(12.0).reshape(4, 3) @ np.diag([1.0, 0.0, 0.0])
    with pytest.raises(GeometryError, match="lie in a line"):
        InternalCoordinate((0, 1, 2, 3)).value(line)
    with pytest.raises(OptionError, match="angles"):
        check_value(InternalCoordinate((0, 1, 2)), 180.0)
    with pytest.raises(OptionError, match="positive bond"):
        check_value(InternalCoordinate((0, 1)), 0.0)
    with pytest.raises(GeometryError, match="No geometry"):
        InternalCoordinate((0, 1)).projected(np.eye(3), -1.0)
