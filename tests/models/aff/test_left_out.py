"""Predictions at training geometries left out, against models that were trained without them."""

import numpy as np
import pytest
import torch
from atomized_cases import LENGTH_SCALE, atomized_arrays
from molecules import BENZENE, WATER

import kraft.models.aff.solution as solution_module
from kraft.kernels import KERNELS
from kraft.models.aff.parameters import AtomizedParameters
from kraft.models.aff.solution import expansion_forces, solve_sets
from kraft.models.aff.uncertainty import AtomizedUncertainty

KERNEL, NUGGET = KERNELS["matern52"], 1e-3
FRAMES = np.array([4, 0, 3])


@pytest.mark.parametrize("molecule", [WATER, BENZENE], ids=str)
def test_forces_and_covariances_are_those_of_retraining(molecule):
    positions = molecule.frames(6)
    arrays = atomized_arrays(molecule, positions)
    found = solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET, leave_out=FRAMES)
    assert np.array_equal(found.left_out.frames, FRAMES)
    for index, frame in enumerate(FRAMES):
        rest = arrays.subset(np.delete(np.arange(6), frame))
        solved = solve_sets(rest, KERNEL, LENGTH_SCALE, NUGGET)
        query = arrays.geometries.subset(np.array([frame]))
        forces = expansion_forces(rest, query, KERNEL, LENGTH_SCALE, solved.coefficients)
        torch.testing.assert_close(found.left_out.forces[index], forces[0], rtol=1e-7, atol=1e-9)
        covariances = posterior(molecule, positions, rest, solved, found.variances, frame)
        torch.testing.assert_close(
            found.left_out.covariances[index], covariances, rtol=1e-6, atol=1e-9
        )


def posterior(molecule, positions, rest, solved, variances, frame):
    """Return the predictive covariance ``(3N, 3N)`` with the variances of all frames."""
    parameters = AtomizedParameters(
        atomic_numbers=molecule.atomic_numbers,
        permutations=molecule.permutations,
        kernel=KERNEL.name,
        length_scale=LENGTH_SCALE,
        regularization=NUGGET,
        feature_weights=rest.weights.numpy(),
        training_positions=np.delete(positions, frame, axis=0),
        coefficients=solved.coefficients.numpy(),
        set_variances=np.array(variances),
    )
    query = torch.tensor(positions[frame : frame + 1])
    whole = torch.zeros(positions[0].size, positions[0].size, dtype=torch.float64)
    parts = AtomizedUncertainty(parameters).covariances(query)
    for atoms, part in zip(parameters.atom_sets, parts, strict=True):
        where = (3 * atoms[:, None] + np.arange(3)).ravel()
        whole[np.ix_(where, where)] = part[0]
    return whole


def test_iterative_sets_are_not_left_out(monkeypatch):
    monkeypatch.setattr(
        solution_module.DenseCholesky, "required_memory", staticmethod(lambda *_: 2**62)
    )
    arrays = atomized_arrays(WATER, WATER.frames(6))
    found = solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET, leave_out=FRAMES)
    assert {outcome.solver for outcome in found.outcomes} == {"iterative"}
    assert found.left_out is None


def test_nothing_is_left_out_unasked():
    arrays = atomized_arrays(WATER, WATER.frames(6))
    assert solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET).left_out is None
