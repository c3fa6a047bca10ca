"""Landmarks: an upper bound that tightens, and is exact with all geometries."""

import pytest
import torch
from molecules import WATER, tensor
from toy_models import toy_parameters

from kraft.core.errors import MemoryLimitError
from kraft.models.uncertainty.exact import ExactUncertainty
from kraft.models.uncertainty.landmarks import LandmarkUncertainty
from kraft.models.uncertainty.system import TrainedSystem

POSITIONS = tensor(WATER.frames(6, seed=4))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "mixed"])
def system(request):
    parameters = toy_parameters(WATER, n_train=12, mixes=request.param)
    return TrainedSystem.from_parameters(parameters, "cpu")


def test_bound_falls_to_the_exact_deviations(system):
    exact = ExactUncertainty(system).deviations(POSITIONS)
    above = None
    for geometries in (3, 6, 12):
        bound = LandmarkUncertainty(system, labels=3 * geometries).deviations(POSITIONS)
        for kind in ("forces", "energies"):
            value = getattr(bound, kind)
            assert bool((value >= getattr(exact, kind) * (1.0 - 1e-6)).all())
            if above is not None:
                assert bool((value <= getattr(above, kind) * (1.0 + 1e-6)).all())
        above = bound
    torch.testing.assert_close(bound.forces, exact.forces, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(bound.energies, exact.energies, rtol=1e-5, atol=1e-9)


def test_choice_follows_the_seed(system):
    bounds = [
        LandmarkUncertainty(system, labels=9, seed=seed).deviations(POSITIONS).forces
        for seed in (0, 0, 1)
    ]
    assert torch.equal(bounds[0], bounds[1])
    assert not torch.equal(bounds[0], bounds[2])


def test_no_memory(system):
    with pytest.raises(MemoryLimitError):
        LandmarkUncertainty(system, max_memory=10)
