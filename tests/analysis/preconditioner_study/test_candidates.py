from __future__ import annotations

import pytest

from kraft.analysis.preconditioner_study.candidates import Candidate, build, candidates
from kraft.core.errors import OptionError


def test_combinations_that_make_sense():
    chosen = candidates(("uniform", "svd", "jacobi"), ("shift", "blocks:5"), (10, 20))
    assert [candidate.key for candidate in chosen] == [
        "uniform/shift/10",
        "uniform/shift/20",
        "uniform/blocks:5/10",
        "uniform/blocks:5/20",
        "svd/shift/10",
        "svd/shift/20",
        "jacobi",
    ]


@pytest.mark.parametrize(
    ("methods", "remainders", "ranks"),
    [
        (("unifrom",), ("shift",), (5,)),
        (("uniform",), ("block",), (5,)),
        (("uniform",), ("blocks:0",), (5,)),
        (("uniform",), ("shift:2",), (5,)),
        (("uniform",), ("shift",), (0,)),
    ],
)
def test_mistakes_are_named(methods, remainders, ranks):
    with pytest.raises(OptionError, match=r"choose|positive"):
        candidates(methods, remainders, ranks)


def test_block_geometries_reach_the_preconditioner(system):
    small = build(Candidate("uniform", "blocks", 10), system.operator, 1e-6).preconditioner
    large = build(Candidate("uniform", "blocks:5", 10), system.operator, 1e-6).preconditioner
    shift = build(Candidate("uniform", "shift", 10), system.operator, 1e-6).preconditioner
    assert shift.memory < small.memory < large.memory
    assert shift.rank == small.rank == large.rank == 10


def test_columns_are_the_same_whatever_the_remainder(system):
    one = build(Candidate("uniform", "shift", 10), system.operator, 1e-6, seed=3).preconditioner
    other = build(Candidate("uniform", "blocks", 10), system.operator, 1e-6, seed=3).preconditioner
    assert one.landmarks.tolist() == other.landmarks.tolist()
