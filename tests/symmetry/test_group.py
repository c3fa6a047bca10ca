from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from kraft.core.errors import SymmetryError
from kraft.symmetry.group import (
    as_permutations,
    closure,
    compose,
    cycles,
    generators,
    identity,
    inverse,
    is_group,
    validate,
)


@st.composite
def permutation_sets(draw, max_atoms=5, max_rows=3):
    n_atoms = draw(st.integers(1, max_atoms))
    rows = draw(st.lists(st.permutations(range(n_atoms)), min_size=1, max_size=max_rows))
    return np.array(rows, dtype=np.int64)


@given(permutation_sets(max_atoms=8))
def test_compose_is_applying_one_after_the_other(rows):
    positions = np.random.default_rng(0).standard_normal((rows.shape[1], 3))
    first, second = rows[0], rows[-1]
    assert_array_equal(positions[compose(first, second)], positions[first][second])


@given(permutation_sets(max_atoms=8))
def test_inverse_undoes_from_both_sides(rows):
    n_atoms = rows.shape[1]
    assert_array_equal(compose(rows[0], inverse(rows[0])), identity(n_atoms))
    assert_array_equal(compose(inverse(rows[0]), rows[0]), identity(n_atoms))


@given(permutation_sets(max_atoms=6))
def test_composition_is_associative(rows):
    a, b, c = rows[0], rows[-1], rows[len(rows) // 2]
    assert_array_equal(compose(compose(a, b), c), compose(a, compose(b, c)))


def naive_closure(rows):
    found = {tuple(range(rows.shape[1]))}
    while True:
        more = {tuple(np.array(a)[b]) for a in found for b in rows} | found
        if more == found:
            return np.array(sorted(found))
        found = more


@settings(deadline=None)
@given(permutation_sets())
def test_closure_is_the_smallest_group(rows):
    group = closure(rows)
    assert is_group(group)
    assert_array_equal(group, naive_closure(rows))
    assert_array_equal(group[0], identity(rows.shape[1]))


@settings(deadline=None)
@given(permutation_sets())
def test_generators_span_the_group_and_none_is_idle(rows):
    group = closure(rows)
    few = generators(group)
    assert_array_equal(closure(np.vstack([group[:1], few])), group)
    assert 2 ** len(few) <= len(group)


def test_closure_refuses_to_grow_beyond_the_bound():
    everything = [[1, 0, 2, 3, 4], [1, 2, 3, 4, 0]]
    assert len(closure(everything, max_order=120)) == 120
    with pytest.raises(SymmetryError, match="at most 119"):
        closure(everything, max_order=119)


def test_cycles_of_the_identity_are_none():
    assert cycles(identity(4)) == ()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1, 2], "shape"),
        ([[0, 1], [0, 1]], "3 atoms"),
        ([[0, 1, 1]], "row 0"),
        ([[1, 2, 3]], "count from 0"),
        ([[0.5, 1, 2]], "whole"),
        ([["a", "b", "c"]], "whole"),
        (np.zeros((0, 3), dtype=int), "shape"),
    ],
)
def test_malformed_permutations_are_refused(rows, message):
    with pytest.raises(SymmetryError, match=message):
        as_permutations(rows, 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1, 2], [1, 0, 2]], "elements"),
        ([[0, 1, 2], [0, 1, 2]], "repeated"),
        ([[0, 2, 1]], "group"),
    ],
)
def test_permutations_that_do_not_fit_the_molecule_are_refused(rows, message):
    with pytest.raises(SymmetryError, match=message):
        validate(rows, np.array([8, 1, 1]))


def test_validate_puts_the_identity_first():
    group = validate([[0.0, 2.0, 1.0], [0.0, 1.0, 2.0]], np.array([8, 1, 1]))
    assert group.dtype == np.int64
    assert_array_equal(group, [[0, 1, 2], [0, 2, 1]])


def test_a_repeated_row_is_no_group():
    assert not is_group(np.array([[0, 1], [0, 1]]))
