"""Choice for the energies: what is held out, and the offset, against explicit retraining."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from atomized_cases import LENGTH_SCALE, atomized_arrays, dataset
from molecules import WATER, pair_potential, tensor

import kraft.models.aff.energy_choice as module
import kraft.models.aff.notices as notices
from kraft.core.progress import silent
from kraft.kernels import KERNELS
from kraft.kernels.atom_geometries import Distances
from kraft.models.aff.energies import EnergyProcess
from kraft.models.aff.energy_choice import HeldEnergies, choose_energies, frames_to_leave_out
from kraft.models.aff.evaluator import AtomizedEvaluator
from kraft.models.aff.solution import solve_sets
from kraft.models.aff.training import train_aff

KERNEL, NUGGET = KERNELS["matern52"], 1e-6
N_TRAIN = 21  # folds of five


@pytest.fixture(scope="module")
def system():
    positions = WATER.frames(N_TRAIN)
    arrays = atomized_arrays(WATER, positions, weighted=False)
    energies = tensor(pair_potential(WATER.atomic_numbers, positions)[0])
    frames = frames_to_leave_out(N_TRAIN, 0)
    solved = solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET, leave_out=frames)
    return arrays, energies, solved.left_out


def chosen(system, validation=None, left_out=None):
    arrays, energies, _ = system
    return choose_energies(
        arrays.geometries,
        arrays.forces,
        energies,
        KERNEL,
        validation,
        left_out,
        seed=0,
        progress=silent,
    )


def predicted(system, choice, rest, queries, forces):
    arrays, energies, _ = system
    geometries = arrays.geometries.subset(rest)
    process = EnergyProcess.fit(
        KERNEL, choice.length_scale, choice.regularization, geometries, energies[rest]
    )
    return process.conditional(queries, Distances(queries, geometries).tile(), forces).energies


def test_offset_is_the_mean_error_at_geometries_held_out(system):
    """All of them, a fold at a time, by processes that never saw the fold."""
    arrays, energies, left_out = system
    choice = chosen(system, left_out=left_out)
    assert choice.criterion == "held-out"
    assert sorted(left_out.frames) == list(range(N_TRAIN))
    errors = []
    for fold in np.split(np.arange(N_TRAIN), range(5, N_TRAIN, 5)):
        some = left_out.frames[fold]
        rest = np.setdiff1d(np.arange(N_TRAIN), some)
        queries = arrays.geometries.subset(some)
        found = predicted(system, choice, rest, queries, left_out.forces[fold])
        errors.append((energies[some] - found).numpy())
    errors = np.concatenate(errors)
    assert choice.offset == pytest.approx(errors.mean(), rel=1e-9)
    assert choice.held_out_error == pytest.approx(errors.std(), rel=1e-9)


def test_score_is_the_predictive_density_less_the_common_error(system, monkeypatch):
    """Errors that are shifted alike make no difference; the covariance of the forces does."""
    arrays, energies, left_out = system
    monkeypatch.setattr(module, "ROUNDS", ((N_TRAIN, 4.0, 4.0),))
    scores = []
    for factor in (0.0, 1.0):
        covariances = factor * left_out.covariances
        other = module.LeftOut(left_out.frames, left_out.forces, covariances)
        scores.append(chosen(system, left_out=other).trials[0].score)
    fold = left_out.frames[:5]
    rest = np.setdiff1d(np.arange(N_TRAIN), fold)
    geometries, queries = arrays.geometries.subset(rest), arrays.geometries.subset(fold)
    process = EnergyProcess.fit(KERNEL, *module.START, geometries, energies[rest])
    squared = Distances(queries, geometries).tile()
    found = process.conditional(queries, squared, left_out.forces[:5])
    spread = module.typical_distance(tensor(geometries.values))
    prior = module.log_prior(spread / module.START[0], module.START[1], len(rest))
    for factor, score in zip((0.0, 1.0), scores, strict=True):
        noise = torch.einsum("bi,bij,bj->b", found.gains, left_out.covariances[:5], found.gains)
        variances = found.variances + factor * noise
        errors = energies[fold] - found.energies
        errors = errors - (errors / variances).sum() / (1 / variances).sum()
        density = 0.5 * (variances.log() + errors**2 / variances).mean()
        assert score == pytest.approx(float(density) - prior / 5, rel=1e-8)


def test_validation_decides_and_gives_the_offset(system):
    arrays, _, _ = system
    positions = WATER.frames(12, seed=5)
    shift = 0.7
    known = tensor(pair_potential(WATER.atomic_numbers, positions)[0]) + shift
    forces = tensor(pair_potential(WATER.atomic_numbers, positions)[1])
    held = HeldEnergies(arrays.like(tensor(positions)), forces, known)
    choice = chosen(system, validation=held)
    found = predicted(system, choice, np.arange(N_TRAIN), held.geometries, forces)
    assert choice.criterion == "validation"
    assert choice.offset == pytest.approx(float((known - found).mean()), rel=1e-9)
    assert choice.offset == pytest.approx(shift, abs=0.2)


def test_too_few_geometries_hold_nothing_out():
    assert frames_to_leave_out(11, 0) is None
    assert sorted(frames_to_leave_out(12, 0)) == list(range(12))
    _, result = train_aff(dataset(WATER, 8), permutations=WATER.permutations, kernel="matern52")
    choice = result.energy_choice
    assert (choice.criterion, choice.offset, choice.held_out_error) == ("likelihood", 0.0, None)


def test_offset_is_in_the_model_and_its_predictions(monkeypatch):
    monkeypatch.setattr(notices, "POOR_ENERGIES", 0.0)
    training = dataset(WATER, 20)
    parameters, result = train_aff(training, permutations=WATER.permutations, kernel="matern52")
    assert parameters.energy_offset == result.energy_choice.offset != 0.0
    assert any("Predicted energies tell little" in notice for notice in result.notices)
    positions = tensor(WATER.frames(3, seed=1))
    with_offset = AtomizedEvaluator(parameters, "cpu", torch.float64)(positions).energies
    without = replace(parameters, energy_offset=0.0)
    bare = AtomizedEvaluator(without, "cpu", torch.float64)(positions).energies
    torch.testing.assert_close(with_offset - bare, torch.full_like(bare, parameters.energy_offset))
