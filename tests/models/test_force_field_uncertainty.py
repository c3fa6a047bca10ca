"""The facade's uncertainties: shapes, calibration, and what tells an atomized model apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from molecules import MOLECULES, WATER, random_rotation
from toy_models import toy_atomized_parameters, toy_dataset, toy_force_field

import kraft
from kraft import ForceField, UncertainPrediction
from kraft.core.errors import GeometryError, OptionError
from kraft.models.uncertainty.calibration import Calibration


@pytest.fixture(scope="module")
def frames():
    return toy_dataset(WATER, 140)


@pytest.fixture(scope="module")
def field(frames) -> ForceField:
    force_field, _ = kraft.train(
        frames.subset(range(40)), length_scale=2.0, regularization=1e-6, kernel="matern52"
    )
    return force_field


@pytest.fixture(scope="module")
def others(frames):
    return frames.subset(range(40, 100))


@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_shapes_and_the_same_predictions(molecule):
    data = toy_dataset(molecule, 8)
    force_field, _ = kraft.train(
        data, length_scale=2.0, regularization=1e-6, permutations=molecule.permutations
    )
    positions = molecule.frames(3, seed=5)
    plain = force_field.predict(positions)
    assert type(plain) is kraft.Prediction and len(plain) == 2
    uncertain = force_field.predict(positions, uncertainty=True)
    assert type(uncertain) is UncertainPrediction
    np.testing.assert_array_equal(uncertain.energies, plain.energies)
    np.testing.assert_array_equal(uncertain.forces, plain.forces)
    assert uncertain.energies_std.shape == (3,)
    assert uncertain.forces_std.shape == positions.shape
    assert (uncertain.forces_std >= 0.0).all() and (uncertain.energies_std >= 0.0).all()
    one = force_field.predict(positions[1], uncertainty=True)
    assert one.energies_std.shape == () and one.forces_std.shape == (molecule.n_atoms, 3)
    np.testing.assert_allclose(one.forces_std, uncertain.forces_std[1], rtol=1e-6, atol=1e-9)
    assert force_field.novelty(positions).shape == (3,)
    assert force_field.novelty(positions[0]).shape == ()


def test_deviations_are_small_at_training_geometries_and_grow_outside(field, frames):
    near = field.predict(frames.positions[:10], uncertainty=True)
    new = field.predict(frames.positions[60:70], uncertainty=True)
    far = field.predict(WATER.frames(10, seed=7, amplitude=0.5), uncertainty=True)
    for name in ("energies_std", "forces_std"):
        at, between, outside = (getattr(part, name).mean() for part in (near, new, far))
        assert at < 0.5 * between < 0.25 * outside
    far_away = WATER.frames(10, seed=7, amplitude=0.5)
    assert field.novelty(far_away).mean() > 2.0 * field.novelty(frames.positions[60:70]).mean()


def test_uncertainty_moves_and_turns_with_the_molecule(field):
    positions = WATER.frames(1, seed=9)[0]
    before = field.predict(positions, uncertainty=True)
    row = field.permutations[-1]
    permuted = field.predict(positions[row], uncertainty=True)
    np.testing.assert_allclose(permuted.forces_std, before.forces_std[row], rtol=1e-7)
    turn = random_rotation(3)
    turned = field.predict(positions @ turn.T + 1.0, uncertainty=True)
    assert turned.energies_std == pytest.approx(float(before.energies_std))
    # Component-wise deviations change when axes turn; the sum of their squares does not.
    np.testing.assert_allclose(
        (turned.forces_std**2).sum(axis=1), (before.forces_std**2).sum(axis=1), rtol=1e-7
    )
    assert field.novelty(positions @ turn.T + 1.0) == pytest.approx(field.novelty(positions))


def test_calibration_scales_deviations_and_nothing_else(field, others, frames):
    calibrated = field.calibrated(others)
    calibration = calibrated.calibration
    assert field.calibration is None and isinstance(calibration, Calibration)
    assert (calibration.n_geometries, calibration.method) == (60, "exact")
    positions = frames.positions[100:]
    before, after = (f.predict(positions, uncertainty=True) for f in (field, calibrated))
    np.testing.assert_array_equal(before.forces, after.forces)
    np.testing.assert_allclose(after.forces_std, calibration.forces * before.forces_std)
    np.testing.assert_allclose(after.energies_std, calibration.energies * before.energies_std)
    again = calibrated.calibrated(others).calibration
    assert again == calibration  # fitted to the raw deviations, not on top of the former factors


def test_calibration_covers_new_data(field, others, frames):
    calibrated = field.calibrated(others)
    new = frames.subset(range(100, 140))
    predicted = calibrated.predict(new.positions, uncertainty=True)
    covered = np.abs(predicted.forces - new.forces) <= 1.96 * predicted.forces_std
    assert 0.9 < covered.mean() < 0.995
    errors = np.abs(field.predict(others.positions).forces - others.forces)
    std = field.predict(others.positions, uncertainty=True).forces_std
    assert calibrated.calibration.forces_coverage == pytest.approx(
        (errors <= 1.959964 * std).mean(), abs=1e-3
    )


def test_calibration_remembers_its_data_and_survives_the_file(field, others, tmp_path):
    calibrated = field.calibrated(others)
    assert calibrated.calibration.indices == tuple(range(40, 100))
    assert calibrated.calibration.source_fingerprint == others.source_fingerprint
    calibrated.save(tmp_path / "m.safetensors")
    loaded = kraft.load(tmp_path / "m.safetensors")
    assert loaded.calibration == calibrated.calibration
    for got, expected in zip(
        loaded.predict(others.positions[:2], uncertainty=True),
        calibrated.predict(others.positions[:2], uncertainty=True),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_a_calibration_is_for_its_method(field, others):
    calibrated = field.calibrated(others)
    assert calibrated.with_uncertainty().uncertainty.method == "exact"
    other = calibrated.with_uncertainty("committee", seed=1)
    plain = field.with_uncertainty("committee", seed=1)
    positions = others.positions[:3]
    assert other.uncertainty.method == "committee"
    np.testing.assert_allclose(
        other.predict(positions, uncertainty=True).forces_std,
        plain.predict(positions, uncertainty=True).forces_std,
    )
    by_committee = plain.calibrated(others)
    assert by_committee.calibration.method == "committee"
    # Without a method asked for, the one that the calibration belongs to is used.
    assert by_committee.with_uncertainty().uncertainty.method == "committee"


def test_calibration_without_energies(field, others):
    calibrated = field.calibrated(dataclasses.replace(others, energies=None))
    positions = others.positions[:2]
    assert calibrated.calibration.energies is None
    np.testing.assert_array_equal(
        calibrated.predict(positions, uncertainty=True).energies_std,
        field.predict(positions, uncertainty=True).energies_std,
    )


def test_frames_that_cannot_be_calibrated_on(field, frames, others):
    with pytest.raises(OptionError, match="30 of the 60 frames to calibrate on are training"):
        field.calibrated(frames.subset(range(10, 70)))
    with pytest.raises(OptionError, match="at least 20 geometries"):
        field.calibrated(others.subset(range(19)))
    with pytest.raises(GeometryError, match="another molecule"):
        field.calibrated(toy_dataset(MOLECULES[0], 30))
    own = dataclasses.replace(others, forces=field.predict(others.positions).forces)
    with pytest.raises(OptionError, match="model's own predictions"):
        field.calibrated(own)


def test_nothing_is_prepared_unless_asked_for(field, others):
    fresh = field.with_uncertainty()
    fresh.predict(others.positions[:2])
    assert "uncertainty" not in fresh.__dict__ and "_novelty" not in fresh.__dict__
    made = fresh.prepare_uncertainty()
    assert fresh.uncertainty is made is fresh.prepare_uncertainty()


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
def test_positions_without_an_answer(field):
    bad = WATER.frames(2)
    bad[1, 0] = np.nan
    for call in (lambda p: field.predict(p, uncertainty=True), field.novelty):
        with pytest.raises(GeometryError, match="geometry 1 has NaN"):
            call(bad)
        with pytest.raises(GeometryError, match="molecule of 3 atoms"):
            call(np.ones((4, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "guess"}, "guess"),
        ({"max_memory": 0}, "memory"),
        ({"n_members": 1}, "two members"),
    ],
)
def test_options_out_of_range(field, options, message):
    with pytest.raises(OptionError, match=message):
        field.with_uncertainty(**options)


def test_a_model_without_its_training_geometries_has_none():
    field = toy_force_field(WATER)
    parameters = dataclasses.replace(field.parameters, training_positions=None, coefficients=None)
    imported = ForceField(parameters)
    with pytest.raises(OptionError, match="training geometries"):
        imported.predict(WATER.frames(1), uncertainty=True)
    assert imported.novelty(WATER.frames(2)).shape == (2,)


def test_kinds():
    sgdml, aff = toy_force_field(WATER), ForceField(toy_atomized_parameters())
    assert (sgdml.kind.name, sgdml.conservative) == ("sgdml", True)
    assert (aff.kind.name, aff.conservative) == ("aff", False)
    assert repr(aff).startswith("<ForceField unnamed: AFF, 3 atoms, 4 training geometries, 2 perm")
    assert aff.knows_energies and sgdml.knows_energies
    assert not ForceField(toy_atomized_parameters(energies=False)).knows_energies


def test_an_atomized_model_has_no_hessian():
    with pytest.raises(OptionError, match=r"AFF model has no Hessian.*sGDML"):
        ForceField(toy_atomized_parameters()).hessian(WATER.frames(1)[0])


@pytest.fixture(scope="module")
def atomized(frames) -> ForceField:
    force_field, result = kraft.train_aff(
        frames.subset(range(40)), length_scale=2.0, regularization=1e-6
    )
    assert [outcome.atoms for outcome in result.sets] == [(0,), (1, 2)]
    return force_field


def test_an_atomized_force_field_is_used_like_any_other(atomized, frames, others, tmp_path):
    new = frames.subset(range(100, 140))
    calibrated = atomized.calibrated(others)
    predicted = calibrated.predict(new.positions, uncertainty=True)
    errors = np.abs(predicted.forces - new.forces)
    assert errors.mean() < 0.2 * new.forces.std()
    assert 0.88 < (errors <= 1.96 * predicted.forces_std).mean() < 0.995
    plain = atomized.predict(new.positions, uncertainty=True)
    np.testing.assert_array_equal(plain.forces, predicted.forces)
    calibration = calibrated.calibration
    np.testing.assert_allclose(predicted.forces_std, calibration.forces * plain.forces_std)
    np.testing.assert_allclose(predicted.energies_std, calibration.energies * plain.energies_std)
    calibrated.save(tmp_path / "m.safetensors")
    loaded = kraft.load(tmp_path / "m.safetensors")
    assert not loaded.conservative and loaded.calibration == calibration
    for got, expected in zip(
        loaded.predict(new.positions, uncertainty=True), predicted, strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    one = calibrated.predict(new.positions[3], uncertainty=True)
    np.testing.assert_allclose(one.forces, predicted.forces[3], rtol=1e-9)
    np.testing.assert_allclose(one.energies_std, predicted.energies_std[3], rtol=1e-4)
    far = WATER.frames(10, seed=7, amplitude=0.5)
    assert calibrated.novelty(far).mean() > 2.0 * calibrated.novelty(new.positions).mean()


def test_atomized_force_fields_in_single_precision(atomized, frames):
    positions = frames.positions[100:110]
    exact, single = (f.predict(positions).forces for f in (atomized, atomized.to(dtype="float32")))
    assert 0.0 < np.abs(single - exact).max() < 1e-2 * np.abs(exact).max()
    assert atomized.to(dtype="float32").rounding_error(positions) > 0.0


def test_the_uncertainty_of_an_atomized_model_is_exact(atomized):
    assert (atomized.uncertainty.method, atomized.uncertainty.direction) == ("exact", "exact")
    with pytest.raises(OptionError, match="exact"):
        atomized.with_uncertainty("committee").predict(WATER.frames(1), uncertainty=True)
