from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.preconditioner_study.candidates import Candidate, candidates
from kraft.analysis.preconditioner_study.iterations import Budget
from kraft.analysis.preconditioner_study.log import MeasurementLog
from kraft.analysis.preconditioner_study.study import Study

CHOSEN = candidates(("uniform", "svd", "none"), ("shift", "blocks"), (30, 60))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


class Stopped(Exception):
    pass


def refuse(*_, **__):
    raise AssertionError("measured again")


def test_measured_once_and_found_again(system, path, monkeypatch):
    first = Study(system, MeasurementLog(path)).iterations(CHOSEN, Budget())
    assert [count.candidate for count in first] == list(CHOSEN)
    assert all(count.converged for count in first)
    monkeypatch.setattr(Study, "_build", refuse)
    assert Study(system, MeasurementLog(path)).iterations(CHOSEN, Budget()) == first


def test_interrupted_study_goes_on_where_it_was(system, path):
    def stop(stage: str, done: int, total: int) -> None:
        # the first group is done, the second has begun: group_memory lets one in at a time
        if stage == "iterating" and done == 1 and len(MeasurementLog(path)) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        Study(system, MeasurementLog(path), group_memory=1, progress=stop).iterations(
            CHOSEN, Budget()
        )
    kept = dict(MeasurementLog(path).items())
    assert len(kept) == 2
    Study(system, MeasurementLog(path)).iterations(CHOSEN, Budget())
    after = MeasurementLog(path)
    assert len(after) == len(CHOSEN)
    assert all(after[key] == row for key, row in kept.items())


def test_matrix_that_does_not_fit_is_not_needed(system, path):
    chosen = CHOSEN[:2]
    free = Study(system, MeasurementLog(path), max_memory=1000).iterations(chosen, Budget())
    stored = Study(system, MeasurementLog(None)).iterations(chosen, Budget())
    for one, other in zip(free, stored, strict=True):
        assert one.converged
        assert one.iterations == pytest.approx(other.iterations, rel=0.08, abs=3)


def test_capped_counts_are_measured_again_with_a_higher_cap(system, path):
    one = [Candidate("none", "", 0)]
    study = Study(system, MeasurementLog(path))
    (low,) = study.iterations(one, Budget(max_iterations=3))
    assert (low.status, low.iterations) == ("max_iterations", 3)
    (high,) = study.iterations(one, Budget(max_iterations=5000))
    assert high.converged and high.iterations > 3
    assert study.iterations(one, Budget(max_iterations=3)) == (high,)


def test_svd_is_the_bound_of_the_papers_remainder(system, path):
    counts = {
        c.candidate.key: c for c in Study(system, MeasurementLog(path)).iterations(CHOSEN, Budget())
    }
    for rank in (30, 60):
        svd = counts[f"svd/shift/{rank}"].iterations
        assert svd <= counts[f"uniform/shift/{rank}"].iterations


def test_spectra_are_kept(system, path, monkeypatch):
    first = Study(system, MeasurementLog(path)).spectra(CHOSEN[:3], n_largest=20)
    monkeypatch.setattr(Study, "_build", refuse)
    again = Study(system, MeasurementLog(path)).spectra(CHOSEN[:3], n_largest=20)
    for candidate in CHOSEN[:3]:
        np.testing.assert_array_equal(first[candidate].values, again[candidate].values)
        assert first[candidate].smallest == again[candidate].smallest


def test_run_times_add_up(system, path):
    study = Study(system, MeasurementLog(path))
    counts = study.iterations(CHOSEN[:2], Budget())
    product = study.seconds_per_product()
    assert product > 0.0 and study.seconds_per_product() == product
    for count, point in zip(counts, study.run_times(counts), strict=True):
        expected = count.seconds_build + count.iterations * (product + count.seconds_apply)
        assert point.seconds == pytest.approx(expected)
        assert point.rank == count.rank
