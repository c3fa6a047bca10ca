"""Training of atomized force fields: choices, records, limits."""

import numpy as np
import pytest
import torch
from atomized_cases import dataset
from molecules import HYDROGEN, WATER, tensor
from smooth_data import vibrations

import kraft.models.aff.choice as choice_module
import kraft.models.aff.training as training_module
from kraft.core.errors import GeometryError, IllConditionedError, OptionError
from kraft.data import Dataset
from kraft.models.aff.evaluator import AtomizedEvaluator
from kraft.models.aff.training import train_aff


def force_mae(parameters, data):
    found = AtomizedEvaluator(parameters, "cpu", torch.float64)(tensor(data.positions))
    return float((found.forces - tensor(data.forces)).abs().mean())


@pytest.mark.parametrize("criterion", ["likelihood", "validation", "leave-one-out"])
def test_choice_learns(criterion):
    validation = dataset(WATER, 20, seed=2) if criterion == "validation" else None
    name = "likelihood" if criterion == "likelihood" else "validation"
    training, test = dataset(WATER, 40), dataset(WATER, 30, seed=3)
    parameters, result = train_aff(
        training,
        validation,
        permutations=WATER.permutations,
        criterion=name,
        kernel="matern52",
    )
    assert result.choice.criterion == criterion
    assert len(result.choice.trials) > 5 and result.choice.kernel == "matern52"
    assert min(trial.score for trial in result.choice.trials) <= result.choice.score
    assert force_mae(parameters, test) < 0.1 * float(np.abs(test.forces).mean())
    assert (result.valid_force_mae is None) == (validation is None)
    if validation is not None:
        assert result.valid_force_mae == pytest.approx(force_mae(parameters, validation))
        assert result.energy_choice.criterion == "validation"
    else:
        assert result.energy_choice.criterion == "held-out"


def test_best_kernel_is_found():
    """The kernel of the best score of the first round."""
    _, result = train_aff(dataset(WATER, 30), permutations=WATER.permutations, kernel="auto")
    scores = {}
    first = result.choice.trials[0].n_train
    for trial in result.choice.trials:
        if trial.n_train == first:
            scores.setdefault(trial.kernel, []).append(trial.score)
    assert len(scores) == 3
    assert result.choice.kernel == min(scores, key=lambda name: min(scores[name]))


def test_later_rounds_have_more_geometries(monkeypatch):
    monkeypatch.setattr(
        choice_module, "ROUNDS", ((3e6, 1.0, 1.0), (2e7, 0.5, 0.5), (1.2e8, 0.5, 0.5))
    )
    monkeypatch.setattr(choice_module, "LEAST_SETS", 1)
    data = dataset(WATER, 60)
    _, result = train_aff(data, permutations=WATER.permutations)
    sizes = [trial.n_train for trial in result.choice.trials]
    assert sizes == sorted(sizes) and len(set(sizes)) >= 2 and sizes[-1] == 60


def test_given_parameters_are_kept():
    parameters, result = train_aff(
        dataset(WATER, 10),
        permutations=WATER.permutations,
        kernel="matern52",
        length_scale=2.5,
        regularization=1e-5,
    )
    assert result.choice.criterion == "given" and not result.choice.trials
    assert (parameters.length_scale, parameters.regularization) == (2.5, 1e-5)
    one, chosen = train_aff(
        dataset(WATER, 10), permutations=WATER.permutations, regularization=1e-5
    )
    assert one.regularization == 1e-5 and chosen.choice.criterion == "likelihood"
    assert {trial.regularization for trial in chosen.choice.trials} == {1e-5}


def test_parameter_at_a_bound_is_told(monkeypatch):
    monkeypatch.setattr(choice_module, "LENGTH_SCALE_BOUNDS", (0.05, 0.06))
    monkeypatch.setattr(choice_module, "START", {"matern52": (0.055, 1e-8)})
    _, result = train_aff(dataset(WATER, 15), permutations=WATER.permutations, kernel="matern52")
    assert "length_scale" in result.choice.at_bound
    assert any("range of the forces ended at a bound" in notice for notice in result.notices)


def test_symmetry_is_found_and_recorded():
    data = dataset(WATER, 25)
    parameters, result = train_aff(data, length_scale=2.0, regularization=1e-6)
    assert parameters.n_permutations == 2 and result.symmetry is not None
    assert [atoms.tolist() for atoms in parameters.atom_sets] == [[0], [1, 2]]
    assert [outcome.atoms for outcome in result.sets] == [(0,), (1, 2)]
    record = parameters.record
    assert record.train_indices == tuple(range(25)) and record.solver == "dense"
    assert record.source_fingerprint == data.source_fingerprint and record.converged
    assert result.timings.total > result.timings.solution > 0.0


def test_without_energies():
    parameters, result = train_aff(
        dataset(WATER, 10, energies=False), length_scale=2.0, regularization=1e-6
    )
    assert parameters.training_energies is None and parameters.energy_variance is None
    assert result.energy_choice is None and any("forces only" in n for n in result.notices)


def test_transitive_group_makes_one_set():
    parameters, result = train_aff(
        dataset(HYDROGEN, 8), permutations=HYDROGEN.permutations, length_scale=1.0,
        regularization=1e-6,
    )  # fmt: skip
    assert len(parameters.atom_sets) == len(result.sets) == 1
    assert force_mae(parameters, dataset(HYDROGEN, 8)) < 1e-2


def test_the_same_seed_gives_the_same_model():
    data = dataset(WATER, 15)
    first, second = (train_aff(data, permutations=WATER.permutations, seed=4)[0] for _ in range(2))
    assert np.array_equal(first.coefficients, second.coefficients)


def test_one_frame_cannot_choose():
    with pytest.raises(OptionError, match="One training frame"):
        train_aff(dataset(WATER, 1), permutations=None)


def test_unknown_criterion_is_refused():
    with pytest.raises(OptionError, match="criterion"):
        train_aff(dataset(WATER, 5), criterion="luck")


def test_damaged_parameters_are_told():
    parameters, _ = train_aff(dataset(WATER, 5), length_scale=2.0, regularization=1e-6)
    with pytest.raises(GeometryError, match="set_variances"):
        type(parameters)(**(vars_of(parameters) | {"set_variances": np.ones(7)}))


def vars_of(parameters):
    return {name: getattr(parameters, name) for name in parameters.__dataclass_fields__}


def test_accurate_on_ethanol(reference_data):
    """Coupled-cluster forces of ethanol: 300 frames are enough for half a kcal/mol/Å or so."""
    from kraft.data import read

    data: Dataset = read(reference_data / "data" / "ethanol_ccsd_t_train.npz")
    order = np.random.default_rng(0).permutation(len(data))
    parameters, _ = train_aff(
        data.subset(order[:200]), kernel="matern72", length_scale=2.0, regularization=5e-7
    )
    test = data.subset(order[200:400])
    assert force_mae(parameters, test) / test.units.force_factor < 0.9


def test_a_nugget_that_rounding_defeats_is_raised_and_told_of(monkeypatch):
    """One that was given is not."""
    noisy = vibrations(40, noise=0.3)
    data = Dataset(noisy.atomic_numbers, noisy.positions, noisy.forces)
    made_up = choice_module.AtomizedChoice("gaussian", 3.0, 1e-22, "likelihood")
    monkeypatch.setattr(training_module, "choose", lambda *_, **__: made_up)
    parameters, result = train_aff(data, permutations=None)
    assert result.choice.raised_from == 1e-22
    assert parameters.regularization == result.choice.regularization > 1e-21
    assert max(outcome.relative_residual for outcome in result.sets) < 1e-4
    assert any("nugget chosen at first" in notice for notice in result.notices)
    with pytest.raises(IllConditionedError, match="larger nugget"):
        train_aff(
            data, permutations=None, kernel="gaussian", length_scale=3.0, regularization=1e-22
        )
