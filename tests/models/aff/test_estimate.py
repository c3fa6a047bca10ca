import pytest
import torch
from atomized_cases import dataset
from molecules import WATER

from kraft.core.errors import OptionError
from kraft.models.aff.choice import AtomizedRequest
from kraft.models.aff.cost import aff_cost
from kraft.models.aff.estimate import estimate_aff
from kraft.models.aff.training import train_aff


def test_memory_and_operations_are_those_of_the_training():
    data = dataset(WATER, 25)
    expected = estimate_aff(data, 25, permutations=WATER.permutations)
    _, result = train_aff(
        data,
        permutations=WATER.permutations,
        kernel="matern52",
        length_scale=2.0,
        regularization=1e-6,
    )
    assert expected.cost == result.cost
    assert expected.n_permutations == 2 and expected.fits
    assert expected.cost.n_parallel == torch.get_num_threads()


def test_given_parameters_cost_no_choice():
    data = dataset(WATER, 20)
    options = {"permutations": WATER.permutations}
    given = estimate_aff(data, 400, request=AtomizedRequest("matern52", 2.0, 1e-6), **options)
    one = estimate_aff(data, 400, request=AtomizedRequest("matern52"), **options)
    assert given.seconds_choice == 0.0 < given.seconds_solution
    assert one.seconds_choice > 0.0


def test_what_does_not_fit_is_told():
    expected = estimate_aff(dataset(WATER, 20), 500, permutations=None, max_memory=10**6)
    assert not expected.fits and expected.allowed == 10**6
    assert [row.labels for row in expected.cost.sets] == [1500] * 3
    assert expected.cost == aff_cost(500, 1, [[0], [1], [2]], n_parallel=expected.cost.n_parallel)
    with pytest.raises(OptionError, match="at least 1"):
        estimate_aff(dataset(WATER, 20), 0)
