import numpy as np
import pytest
import torch
from molecules import CARBON_DIOXIDE, HYDROGEN, MOLECULES, TWO_ROTORS, WATER, tensor
from toy_models import slow_energy, toy_force_field, toy_parameters

import kraft.models.evaluator as module
from kraft.kernels import KERNELS
from kraft.models.evaluator import Evaluator

CELL = np.array([[3.0, 0.2, 0.0], [0.0, 3.5, 0.1], [0.0, 0.0, 4.0]])


KINDS = {"forces": {}, "energies": {"energies": True}, "mixed": {"energies": True, "mixes": True}}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", [HYDROGEN, CARBON_DIOXIDE, WATER, TWO_ROTORS], ids=str)
def test_energy_forces_and_hessian_against_automatic_differentiation(molecule, kernel, kind):
    options = {"kernel": kernel, "weighted": molecule is not HYDROGEN, **kind}
    field = toy_force_field(molecule, n_train=2, **options)
    positions = molecule.frames(1, seed=5)[0]
    geometry = tensor(positions)

    def energy(x):
        return slow_energy(field.parameters, x)

    gradient, value = torch.func.grad_and_value(energy)(geometry)
    prediction = field.predict(positions)
    assert float(prediction.energies) == pytest.approx(float(value), rel=1e-10)
    scale = float(gradient.abs().max())
    np.testing.assert_allclose(prediction.forces, -gradient.numpy(), rtol=0, atol=1e-9 * scale)
    if molecule is TWO_ROTORS:
        return  # the Hessian of 18 permutations by finite differences, below
    n = positions.size
    hessian = torch.func.hessian(energy)(geometry).reshape(n, n).numpy()
    got = field.hessian(positions)
    np.testing.assert_allclose(got, hessian, rtol=0, atol=1e-9 * np.abs(hessian).max())


def test_periodic_cell_against_automatic_differentiation(kind):
    field = toy_force_field(WATER, n_train=3, cell=CELL, **kind)
    positions = WATER.frames(1, seed=5)[0]
    positions[1] += CELL[0] - CELL[2]
    gradient, value = torch.func.grad_and_value(lambda x: slow_energy(field.parameters, x))(
        tensor(positions)
    )
    prediction = field.predict(positions)
    assert float(prediction.energies) == pytest.approx(float(value), rel=1e-10)
    np.testing.assert_allclose(prediction.forces, -gradient.numpy(), atol=1e-10)
    hessian = torch.func.hessian(lambda x: slow_energy(field.parameters, x))(tensor(positions))
    np.testing.assert_allclose(field.hessian(positions), hessian.reshape(9, 9).numpy(), atol=1e-9)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_forces_and_hessian_against_finite_differences(molecule, kernel, kind):
    field = toy_force_field(molecule, kernel=kernel, **kind)
    positions = molecule.frames(1, seed=6)[0]
    n, step = positions.size, 1e-4
    steps = step * np.eye(n).reshape(n, -1, 3)
    ahead, behind = field.predict(positions + steps), field.predict(positions - steps)
    forces = -(ahead.energies - behind.energies) / (2.0 * step)
    expected = field.predict(positions).forces.ravel()
    np.testing.assert_allclose(forces, expected, rtol=0, atol=1e-6 * (1 + np.abs(expected).max()))
    hessian = -(ahead.forces - behind.forces).reshape(n, n) / (2.0 * step)
    got = field.hessian(positions)
    np.testing.assert_allclose(got, hessian, rtol=0, atol=1e-6 * (1 + np.abs(got).max()))
    np.testing.assert_array_equal(got, got.T)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_hessian_at_a_training_geometry(kernel):
    """The third derivative of the Matérn-5/2 kernel is infinite there, the Hessian is not."""
    field = toy_force_field(WATER, kernel=kernel, n_train=3, energies=True)
    positions = field.parameters.training_positions[1]
    at = field.hessian(positions)
    near = field.hessian(positions + 1e-6 * np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_allclose(at, near, rtol=0, atol=1e-3 * np.abs(at).max())


def test_chunks_do_not_show(monkeypatch):
    field = toy_force_field(TWO_ROTORS, energies=True, mixes=True)
    positions = TWO_ROTORS.frames(23)
    whole = field.predict(positions)
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 5 * 3 * 55)
    parts = field.predict(positions)
    np.testing.assert_allclose(parts.energies, whole.energies, rtol=1e-12)
    np.testing.assert_allclose(parts.forces, whole.forces, rtol=0, atol=1e-11)


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
def test_on_any_device_in_any_precision(mixes, dtype, device):
    parameters = toy_parameters(TWO_ROTORS, energies=True, n_train=30, mixes=mixes)
    positions = tensor(TWO_ROTORS.frames(9, seed=3))
    exact = Evaluator(parameters, "cpu", torch.float64)(positions)
    got = Evaluator(parameters, device, dtype)(positions.to(device))
    tolerance = 1000 * torch.finfo(dtype).eps
    for ours, expected in zip(got, exact, strict=True):
        assert ours.dtype == torch.float64
        error = (ours.cpu() - expected).abs().max() / expected.abs().max()
        assert float(error) < tolerance


def test_flops_count_four_products_over_the_classes():
    parameters = toy_parameters(WATER, n_train=5)
    flops = Evaluator(parameters, "cpu", torch.float64).flops_per_geometry
    assert 0 < flops <= 8 * 5 * 2 * 3
