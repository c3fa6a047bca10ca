"""When a solution has stopped improving, told from errors alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kraft.models import validation_stop
from kraft.models.validation_stop import IMPROVEMENT, ValidationWatch
from kraft.solvers.monitor import Iterate


def _iterate(iteration, told, *, residual=1e-3):
    return Iterate(
        iteration=iteration,
        seconds=0.0,
        relative_residual=residual,
        target=1e-4,
        checked=False,
        rank=1,
        restarts=0,
        coefficients=lambda: torch.tensor([float(iteration)]),
        state=lambda: None,
        seconds_left=lambda: None,
        record_validation=told.append,
    )


def _first_stop(error, n=2000, *, residual=1e-3):
    """Return the iteration at which the watch wants to stop, and all it has measured."""
    told = []
    watch = ValidationWatch(lambda c: error(float(c[0])), share=1.0)
    for iteration in range(1, n):
        if watch.look(_iterate(iteration, told, residual=residual)):
            return iteration, told
    return None, told


def test_goes_on_while_the_error_falls_and_stops_after_it():
    stop, told = _first_stop(lambda i: max(0.1, math.exp(-i / 100)))
    flat = 100 * math.log(10)
    assert 1.1 * flat < stop < 2.0 * flat
    assert len(told) > 10


def test_slow_but_steady_improvement_is_improvement():
    assert _first_stop(lambda i: i**-0.1)[0] is None


def test_noise_is_no_improvement():
    rng = np.random.default_rng(0)
    stop, _ = _first_stop(lambda _: 1.0 + 0.3 * IMPROVEMENT * rng.random())
    assert stop is not None


def test_a_first_iterate_that_is_far_from_a_solution_does_not_stop_it():
    assert _first_stop(lambda _: 1.0, residual=0.5)[0] is None


def test_evaluations_take_their_share_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(validation_stop.time, "perf_counter", lambda: now[0])

    def error(_):
        now[0] += 3.0
        return 1.0

    watch = ValidationWatch(error, share=0.1)
    told = []
    for iteration in range(1, 400):
        now[0] += 1.0
        watch.look(_iterate(iteration, told))
    assert 3.0 * len(told) / now[0] == pytest.approx(0.1, abs=0.02)
    assert watch.latest == 1.0
