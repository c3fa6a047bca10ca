"""Memory and operations, known beforehand."""

import numpy as np
import pytest

from kraft.linalg.panels import panel_entries
from kraft.models.aff.cost import aff_cost

SETS = [np.array([0]), np.array([1, 2, 3]), np.array([4])]


def test_factorizations_grow_with_the_cube_of_a_set():
    small, large = (aff_cost(m, 1, SETS).sets for m in (4000, 8000))
    for one, other in zip(small, large, strict=True):
        assert other.flops / one.flops == pytest.approx(8.0, rel=0.2)
    assert small[1].flops / small[0].flops == pytest.approx(27.0, rel=0.05)


def test_labels_and_memory_of_a_set():
    cost = aff_cost(1000, 2, SETS)
    assert [one.labels for one in cost.sets] == [3000, 9000, 3000]
    assert [one.atoms for one in cost.sets] == [(0,), (1, 2, 3), (4,)]
    for one, block in zip(cost.sets, (3, 9, 3), strict=True):
        matrix = 8 * panel_entries(one.labels, block)
        assert matrix < one.memory < 2.5 * matrix


def test_memory_of_sets_that_are_solved_together():
    one, two = (aff_cost(1000, 2, SETS, n_parallel=n) for n in (1, 2))
    assert one.memory == one.shared_memory + one.sets[1].memory
    assert two.memory == one.memory + one.sets[0].memory
    assert one.flops == sum(part.flops for part in one.sets)
