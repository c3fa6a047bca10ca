import numpy as np
import pytest
from molecules import CHIRAL, MOLECULES, TWO_ROTORS, WATER, random_rotation
from toy_models import toy_force_field

from kraft import KraftError
from kraft.core.errors import GeometryError, OptionError


@pytest.fixture(params=MOLECULES, ids=str)
def molecule(request):
    return request.param


@pytest.fixture(params=[{}, {"energies": True}, {"mixes": True}], ids=str)
def field(request, molecule):
    return toy_force_field(molecule, **request.param)


def _close(got, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11 * (1.0 + scale))


def test_shapes_and_types(molecule, field):
    positions = molecule.frames(3)
    energies, forces = field.predict(positions)
    assert energies.shape == (3,) and forces.shape == positions.shape
    assert energies.dtype == forces.dtype == np.float64
    energy, force = field.predict(positions[0])
    assert energy.shape == () and force.shape == (molecule.n_atoms, 3)
    assert field.hessian(positions[0]).shape == (3 * molecule.n_atoms,) * 2


def test_batch_is_single_after_single(molecule, field):
    positions = molecule.frames(7)
    batch = field.predict(positions)
    for index, geometry in enumerate(positions):
        single = field.predict(geometry)
        _close(single.energies, batch.energies[index])
        _close(single.forces, batch.forces[index])


def test_translation(molecule, field):
    positions = molecule.frames(2)
    here, there = field.predict(positions), field.predict(positions + np.array([3.0, -20.0, 0.4]))
    _close(there.energies, here.energies)
    _close(there.forces, here.forces)


def test_rotation_and_reflection(molecule, field):
    positions = molecule.frames(2)
    before = field.predict(positions)
    for matrix in (random_rotation(1), -random_rotation(2)):
        after = field.predict(positions @ matrix.T)
        _close(after.energies, before.energies)
        _close(after.forces, before.forces @ matrix.T)


def test_permutation_of_equivalent_atoms(molecule, field):
    positions = molecule.frames(1)[0]
    before = field.predict(positions)
    hessian = field.hessian(positions).reshape(molecule.n_atoms, 3, molecule.n_atoms, 3)
    for row in molecule.permutations:
        after = field.predict(positions[row])
        _close(after.energies, before.energies)
        _close(after.forces, before.forces[row])
        moved = field.hessian(positions[row]).reshape(hessian.shape)
        _close(moved, hessian[row][:, :, row])


def test_other_permutations_do_change_the_energy():
    field = toy_force_field(TWO_ROTORS)
    positions = TWO_ROTORS.frames(1)[0]
    swapped = positions[[1, 0, *range(2, 11)]]  # a reflection of the rotor, not in its group
    assert abs(field.predict(swapped).energies - field.predict(positions).energies) > 1e-6


def test_no_net_force_and_no_torque(molecule, field):
    positions = molecule.frames(4)
    forces = field.predict(positions).forces
    scale = np.abs(forces).max()
    assert np.abs(forces.sum(axis=1)).max() < 1e-11 * scale
    assert np.abs(np.cross(positions, forces).sum(axis=1)).max() < 1e-10 * scale


def test_hessian_has_the_rigid_motions_in_its_null_space_at_zero_force(molecule, field):
    """Translations always; rotations turn the forces, which do not vanish here."""
    hessian = field.hessian(molecule.frames(1)[0])
    shifts = np.tile(np.eye(3), (molecule.n_atoms, 1))
    assert np.abs(hessian @ shifts).max() < 1e-9 * np.abs(hessian).max()


def test_predictions_do_not_change_their_input_or_each_other(molecule, field):
    positions = molecule.frames(3)
    before = positions.copy()
    first = field.predict(positions)
    kept = first.forces.copy()
    field.predict(positions + 0.01)
    np.testing.assert_array_equal(positions, before)
    np.testing.assert_array_equal(first.forces, kept)
    again = field.predict(positions)
    np.testing.assert_array_equal(again.forces, kept)


@pytest.mark.parametrize("order", ["C", "F"])
def test_any_array_like(order):
    field = toy_force_field(WATER)
    positions = WATER.frames(2)
    expected = field.predict(positions)
    for given in (
        np.asarray(positions, order=order),
        positions.tolist(),
        np.ascontiguousarray(positions[:, ::-1])[:, ::-1],
    ):
        np.testing.assert_array_equal(field.predict(given).forces, expected.forces)
    frozen = positions.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(field.predict(frozen).forces, expected.forces)


@pytest.mark.parametrize(
    "shape", [(3,), (4, 3), (2, 4, 3), (3, 2), (1, 2, 3, 3), (0, 3, 3)], ids=str
)
def test_a_wrong_shape_is_explained(shape):
    with pytest.raises(GeometryError, match=r"3|geometry"):
        toy_force_field(WATER).predict(np.ones(shape))


def test_the_hessian_takes_one_geometry():
    with pytest.raises(GeometryError, match="one geometry"):
        toy_force_field(WATER).hessian(WATER.frames(2))


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite(value):
    field = toy_force_field(WATER)
    positions = WATER.frames(3)
    positions[1, 2, 0] = value
    with pytest.raises(GeometryError, match="geometry 1 has NaN or infinite"):
        field.predict(positions)
    with pytest.raises(GeometryError, match="finite positions"):
        field.predict(positions[1])
    with pytest.raises(GeometryError, match="finite positions"):
        field.hessian(positions[1])


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
@pytest.mark.parametrize("molecule", [WATER, CHIRAL, TWO_ROTORS], ids=str)
def test_atoms_in_the_same_place(molecule):
    field = toy_force_field(molecule, energies=True)
    positions = molecule.frames(3)
    positions[2, 0] = positions[2, 1]
    with pytest.raises(GeometryError, match="geometry 2 are in the same place"):
        field.predict(positions)
    with pytest.raises(GeometryError, match="same place"):
        field.hessian(positions[2])


def test_single_precision_is_close_and_says_so_in_its_type():
    double = toy_force_field(TWO_ROTORS, n_train=40)
    single = double.to(dtype="float32")
    assert (double.dtype, single.dtype) == ("float64", "float32")
    positions = TWO_ROTORS.frames(20, seed=9)
    exact, rounded = double.predict(positions), single.predict(positions)
    assert rounded.forces.dtype == np.float64
    error = np.abs(rounded.forces - exact.forces).max() / np.abs(exact.forces).max()
    assert 1e-12 < error < 1e-4
    np.testing.assert_array_equal(single.hessian(positions[0]), double.hessian(positions[0]))
    np.testing.assert_array_equal(
        single.to(dtype="float64").predict(positions).forces, exact.forces
    )


def test_on_every_device(device):
    field = toy_force_field(TWO_ROTORS).to(device=device)
    assert field.device == device
    positions = TWO_ROTORS.frames(5)
    expected = toy_force_field(TWO_ROTORS).predict(positions)
    np.testing.assert_allclose(field.predict(positions).forces, expected.forces, atol=1e-11)
    np.testing.assert_allclose(
        field.hessian(positions[0]), toy_force_field(TWO_ROTORS).hessian(positions[0]), atol=1e-9
    )


@pytest.mark.parametrize(
    "options, message",
    [({"dtype": "float16"}, "float64 or float32"), ({"device": "gpu0"}, "cpu, cuda")],
)
def test_unknown_precision_or_device(options, message):
    with pytest.raises(OptionError, match=message):
        toy_force_field(WATER).to(**options)


def test_a_missing_gpu_is_explained(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(OptionError, match="no usable GPU"):
        toy_force_field(WATER).to(device="cuda")


def test_what_it_tells_about_itself():
    field = toy_force_field(WATER)
    assert repr(field) == (
        "<ForceField unnamed: 3 atoms, 4 training geometries, 2 permutations, Matérn-5/2>"
    )
    np.testing.assert_array_equal(field.atomic_numbers, [8, 1, 1])
    np.testing.assert_array_equal(field.permutations, [[0, 1, 2], [0, 2, 1]])
    assert field.units.energy == "eV" and field.record.name == ""


def test_errors_are_those_of_kraft():
    assert issubclass(GeometryError, KraftError) and issubclass(GeometryError, ValueError)
