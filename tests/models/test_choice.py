import math
from dataclasses import replace

import pytest

from kraft.models.choice import ENERGY_SHARE, Trial

TRIAL = Trial("gaussian", 2.0, 1e-9, 40, 0.04, 0.01)


def test_forces_weigh_more_than_energies():
    better_forces = replace(TRIAL, force_mae=0.9 * TRIAL.force_mae)
    better_energies = replace(TRIAL, energy_mae=0.9 * TRIAL.energy_mae)
    assert better_forces.score == pytest.approx(0.9 * TRIAL.score)
    assert better_energies.score == pytest.approx(0.9**ENERGY_SHARE * TRIAL.score)
    assert better_forces.score < better_energies.score < TRIAL.score


def test_without_energies_forces_alone_count():
    assert replace(TRIAL, energy_mae=None).score == TRIAL.force_mae


@pytest.mark.parametrize("energy_mae", [None, 0.0, 0.01, math.inf])
def test_a_singular_system_is_never_best(energy_mae):
    singular = replace(TRIAL, force_mae=math.inf, energy_mae=energy_mae)
    assert singular.score == math.inf
    assert replace(TRIAL, energy_mae=0.0).score > 0.0
