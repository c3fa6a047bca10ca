from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import kraft
from kraft.analysis.errors import evaluate
from kraft.analysis.unseen import unseen_frames
from kraft.core.errors import DataError, GeometryError
from kraft.data import Dataset
from kraft.interfaces.sgdml import read_sgdml_model, write_sgdml_model
from kraft.models import ForceField


@pytest.fixture(scope="module")
def parts(ethanol: Dataset) -> kraft.Split:
    return kraft.split(ethanol, n_train=15, n_valid=10, n_test=130)


@pytest.fixture(scope="module")
def force_field(parts: kraft.Split) -> ForceField:
    options = {"kernel": "matern52", "length_scale": 20.0, "regularization": 1e-10}
    return kraft.train(parts.train, parts.valid, **options)[0]


def test_errors_are_those_of_their_definitions(force_field, parts):
    report = evaluate(force_field, parts.test)
    energies, forces = force_field.predict(parts.test.positions)
    energy_errors = energies - parts.test.energies
    force_errors = (forces - parts.test.forces).reshape(-1)
    assert report.energy_mae == pytest.approx(np.mean(np.abs(energy_errors)))
    assert report.energy_rmse == pytest.approx(np.sqrt(np.mean(energy_errors**2)))
    assert report.energy_max == pytest.approx(np.max(np.abs(energy_errors)))
    assert report.force_mae == pytest.approx(np.mean(np.abs(force_errors)))
    assert report.force_rmse == pytest.approx(np.sqrt(np.mean(force_errors**2)))
    assert report.force_max == pytest.approx(np.max(np.abs(force_errors)))
    assert report.force_spread == pytest.approx(parts.test.forces.std())
    assert report.n_test == 130


def test_units_there_and_back(force_field, parts):
    report = evaluate(force_field, parts.test)
    units = kraft.Units("kcal/mol", "bohr")
    other = report.in_units(units)
    assert other.units == units
    assert other.energy_mae == pytest.approx(report.energy_mae / units.energy_factor)
    assert other.force_rmse == pytest.approx(report.force_rmse / units.force_factor)
    back = other.in_units(kraft.Units())
    for field in dataclasses.fields(report):
        if field.name != "units":
            assert getattr(back, field.name) == pytest.approx(getattr(report, field.name))


def test_energies_are_left_out_where_they_mean_nothing(force_field, parts):
    without = dataclasses.replace(parts.test, energies=None)
    assert evaluate(force_field, without).energy_mae is None
    blind = kraft.train(
        dataclasses.replace(parts.train, energies=None),
        kernel="matern52", length_scale=20.0, regularization=1e-10,
    )[0]  # fmt: skip
    report = evaluate(blind, parts.test)
    assert report.energy_mae is None
    assert report.in_units(kraft.Units("kcal/mol")).energy_rmse is None
    assert report.force_mae == pytest.approx(evaluate(force_field, parts.test).force_mae)


def test_another_molecule_is_refused(force_field):
    water = Dataset([8, 1, 1], np.eye(3)[None], np.zeros((1, 3, 3)))
    with pytest.raises(GeometryError, match="H2O"):
        evaluate(force_field, water)


def test_progress_reaches_its_end(force_field, parts):
    calls = []
    evaluate(force_field, parts.test, lambda *call: calls.append(call))
    assert calls[0] == ("testing", 0, 130)
    assert calls[-1] == ("testing", 130, 130)


def test_frames_of_the_training_are_known_by_index_and_geometry(force_field, ethanol, parts):
    unseen = unseen_frames(force_field, ethanol)
    assert (unseen.n_trained, unseen.n_validated) == (15, 10)
    used = {*force_field.record.train_indices, *force_field.record.valid_indices}
    assert not used & set(unseen.dataset.provenance.indices.tolist())
    assert len(unseen.dataset) == len(ethanol) - 25
    # Elsewhere only the training geometries are known, turned and shifted ones, too.
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    positions = np.concatenate([parts.train.positions[:4], parts.test.positions[:3]]) @ rotation + 1
    copies = Dataset(ethanol.atomic_numbers, positions, np.ones_like(positions))
    unseen = unseen_frames(force_field, copies)
    assert (unseen.n_trained, unseen.n_validated, len(unseen.dataset)) == (4, 0, 3)


def test_imported_models_know_their_training_frames_in_any_equivalent_order(
    force_field, ethanol, parts, tmp_path
):
    write_sgdml_model(force_field, tmp_path / "m.npz")
    imported = read_sgdml_model(tmp_path / "m.npz")
    assert imported.parameters.training_positions is None
    unseen = unseen_frames(imported, ethanol)
    assert (unseen.n_trained, unseen.n_validated) == (15, 0)
    assert not set(force_field.record.train_indices) & set(unseen.dataset.provenance.indices)
    assert len(force_field.permutations) == 6
    permuted = parts.train.positions[0][force_field.parameters.permutations]
    for model in (force_field, imported):
        with pytest.raises(DataError, match="all 6 frames"):
            unseen_frames(model, Dataset(ethanol.atomic_numbers, permuted, np.ones((6, 9, 3))))
    # Two hydrogens exchanged that no symmetry exchanges: another geometry.
    hydrogens = np.flatnonzero(ethanol.atomic_numbers == 1)
    strangers = []
    for other in hydrogens[1:]:
        order = np.arange(9)
        order[[hydrogens[0], other]] = other, hydrogens[0]
        if not (force_field.parameters.permutations == order).all(axis=1).any():
            strangers.append(parts.train.positions[0][order])
    assert strangers
    foreign = Dataset(ethanol.atomic_numbers, strangers, np.ones((len(strangers), 9, 3)))
    assert unseen_frames(imported, foreign).n_trained == 0


def test_nothing_left_to_test_on(force_field, parts):
    with pytest.raises(DataError, match="all 15 frames"):
        unseen_frames(force_field, parts.train)
