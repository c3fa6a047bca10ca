from __future__ import annotations

import numpy as np

from kraft.symmetry.assembly import assemble, largest_subgroup
from kraft.symmetry.group import closure, is_group

THREE_ROTORS = closure(
    [
        [1, 2, 0, 3, 4, 5, 6, 7, 8],
        [0, 1, 2, 4, 5, 3, 6, 7, 8],
        [0, 1, 2, 3, 4, 5, 7, 8, 6],
    ]
)


def everything(rows):
    return np.ones(len(rows), dtype=bool)


def test_candidates_inside_the_group_are_not_used_twice():
    assembly = assemble(THREE_ROTORS, np.arange(27), 100, everything)
    np.testing.assert_array_equal(assembly.group, THREE_ROTORS)
    assert len(assembly.used) == 3


def test_a_candidate_that_spans_something_unvisited_is_left_out():
    def never_moves_atom_eight(rows):
        return rows[:, 8] == 8

    assembly = assemble(THREE_ROTORS, np.arange(27), 100, never_moves_atom_eight)
    assert len(assembly.group) == 9
    assert len(assembly.unvisited) == 18


def test_a_candidate_that_grows_the_group_too_much_is_left_out():
    assembly = assemble(THREE_ROTORS, np.arange(27), 10, everything)
    assert len(assembly.group) == 9
    assert len(assembly.too_large) == 18


def test_largest_subgroup_keeps_the_bound():
    support = np.zeros(27, dtype=np.int64)
    for limit, order in ((1, 1), (2, 1), (3, 3), (8, 3), (9, 9), (26, 9), (27, 27)):
        subgroup = largest_subgroup(THREE_ROTORS, support, limit)
        assert len(subgroup) == order
        assert is_group(subgroup)
