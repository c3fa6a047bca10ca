import math

import pytest

from kraft.solvers.progress_window import EAGER, PATIENT, ProgressWindow


def window(residual, energy, steps=400):
    result = ProgressWindow()
    for step in range(steps):
        result.add(0.01 * step, residual(step), energy(step))
    return result


def flat(step):
    return 0.5


def settled(step):
    return -1.0 + math.exp(-step / 5)


@pytest.mark.parametrize("patience", [EAGER, PATIENT])
def test_falling_residuals_are_progress(patience):
    assert not window(lambda step: 0.99**step, settled).stalled(patience)


@pytest.mark.parametrize("patience", [EAGER, PATIENT])
def test_neither_residual_nor_energy_is_a_stall(patience):
    assert window(flat, settled).stalled(patience)
    assert window(lambda step: 0.5 * 1.01**step, settled).stalled(patience)


def test_rising_residuals_are_no_stall_while_the_energy_falls():
    rising = window(lambda step: 1.005**step, lambda step: -math.sqrt(step))
    assert not rising.stalled(EAGER) and not rising.stalled(PATIENT)


def test_peaks_do_not_hide_that_residuals_fall_on_average():
    noisy = window(
        lambda step: (0.997**step) * (1e-3 if step == 0 else 10.0 ** (step % 7 - 3)), settled, 300
    )
    assert not noisy.stalled(EAGER)


def test_slow_progress_is_enough_for_the_patient_only():
    slow = window(lambda step: 0.9998**step, settled, 1000)
    assert slow.stalled(EAGER) and not slow.stalled(PATIENT)


def test_nothing_is_said_before_a_window_is_full_nor_after_a_restart():
    assert not window(flat, settled, EAGER.least_steps).stalled(EAGER)
    again = window(flat, settled)
    again.restart()
    again.add(0.0, 0.5, 0.0)
    assert not again.stalled(EAGER)


def test_energy_counts_from_the_last_restart():
    """Near the solution the energy hardly changes, but a new cycle gains what is left of it."""
    late = window(flat, lambda step: -1e6 - 1e-3 * step)
    assert late.stalled(EAGER) and not late.stalled(PATIENT)


def test_time_left():
    falling = window(lambda step: 10.0 ** (-step / 100), settled, 201)
    assert falling.seconds_left(1e-4) == pytest.approx(2.0, rel=1e-6)
    assert falling.seconds_left(0.1) == 0.0
    assert window(flat, settled).seconds_left(1e-4) is None
    assert ProgressWindow().seconds_left(1e-4) is None
