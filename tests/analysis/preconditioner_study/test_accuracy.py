from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.preconditioner_study.accuracy import compare_solutions, solve
from kraft.solvers.iterative import IterativeSolver
from kraft.solvers.preconditioners import preconditioner_method


def iterative(tolerance: float) -> IterativeSolver:
    return IterativeSolver(
        preconditioner_method("uniform", remainder="blocks"), 60, tolerance=tolerance
    )


def test_errors_of_both_solutions_agree_the_better_the_tighter(system, ethanol):
    test = ethanol.subset(np.arange(7, 200, 20))
    loose, tight = compare_solutions(system, test, [iterative(1e-2), iterative(1e-8)])
    assert tight.iterative.status == loose.iterative.status == "converged"
    assert tight.iterative.iterations > loose.iterative.iterations > 0
    assert tight.rms_difference < 1e-3 * loose.rms_difference
    assert tight.mae_difference < 1e-6 < tight.dense_force_mae
    assert tight.dense == loose.dense and tight.dense.status == "exact"
    assert tight.speedup == pytest.approx(tight.dense.seconds / tight.iterative.seconds)
    assert tight.n_test == len(test)


def test_peak_memory_is_that_of_the_arrays(system):
    _, without = solve(system, iterative(1e-4))
    _, measured = solve(system, iterative(1e-4), measure_memory=True)
    assert without.peak_memory is None
    assert measured.peak_memory is not None
    assert measured.peak_memory >= 8 * 60 * system.size
