import numpy as np
import pytest
from molecules import (
    CARBON_DIOXIDE,
    CHIRAL,
    HYDROGEN,
    SMALL_MOLECULES,
    WATER,
    pair_potential,
    random_rotation,
)
from toy_models import toy_dataset

import kraft
import kraft.models.selection as selection
from kraft.core.errors import DataError, MemoryLimitError, OptionError, SymmetryError
from kraft.data import Dataset
from kraft.version import __version__

PAPER = {"kernel": "matern52", "length_scale": 3.0, "regularization": 1e-10}


def _force_mae(model, dataset):
    return float(np.abs(model.predict(dataset.positions).forces - dataset.forces).mean())


def _energy_mae(model, dataset):
    return float(np.abs(model.predict(dataset.positions).energies - dataset.energies).mean())


@pytest.fixture(scope="module")
def parts(ethanol):
    return kraft.split(ethanol, n_train=60, n_valid=50, n_test=200, seed=1)


@pytest.fixture(scope="module")
def trained(parts):
    return kraft.train(
        parts.train, parts.valid, kernel="matern52", length_scale=10.0, regularization=1e-10
    )


@pytest.mark.parametrize("molecule", SMALL_MOLECULES, ids=str)
def test_learns_a_known_potential(molecule):
    """More frames, smaller errors, of forces and of energies that were never shown."""
    test = toy_dataset(molecule, 50, seed=9)
    errors = []
    for n_train in (5, 40):
        training = toy_dataset(molecule, n_train)
        model, _ = kraft.train(training, permutations=molecule.permutations, **PAPER)
        errors.append((_force_mae(model, test), _energy_mae(model, test)))
    spread = np.abs(test.forces).mean(), test.energies.std()
    assert errors[1][0] < 0.1 * spread[0] and errors[1][1] < 0.1 * spread[1]
    assert errors[1][0] < errors[0][0]


@pytest.mark.parametrize("kernel", ["matern52", "matern72", "gaussian"])
def test_training_forces_are_reproduced(kernel):
    training = toy_dataset(WATER, 15)
    model, result = kraft.train(
        training, permutations=WATER.permutations, **{**PAPER, "kernel": kernel}
    )
    assert _force_mae(model, training) < 1e-3 * np.abs(training.forces).mean()
    assert result.outcome.relative_residual < 1e-6 and result.choice.kernel == kernel


def test_ethanol_end_to_end(parts, trained, ethanol):
    model, result = trained
    assert len(result.permutations) == 6 and result.symmetry is not None
    np.testing.assert_array_equal(model.permutations, result.permutations)
    error = _force_mae(model, parts.test)
    assert error < 0.15 * np.abs(parts.test.forces).mean()
    assert _energy_mae(model, parts.test) < 0.3 * parts.test.energies.std()
    assert result.valid_force_mae == pytest.approx(_force_mae(model, parts.valid))
    assert result.outcome.jitter == 0.0 and not result.notices
    record = model.record
    assert record.source_fingerprint == ethanol.fingerprint
    np.testing.assert_array_equal(
        ethanol.positions[list(record.train_indices)], parts.train.positions
    )
    np.testing.assert_array_equal(
        ethanol.positions[list(record.valid_indices)], parts.valid.positions
    )
    assert (record.seed, record.kraft_version) == (0, __version__)
    assert record.valid_force_mae == result.valid_force_mae
    assert record.relative_residual == result.outcome.relative_residual
    timings = result.timings
    stages = (timings.checks, timings.symmetry, timings.choice, timings.energy_offset)
    assert min(stages) >= 0.0 and timings.total >= sum(stages)


def test_symmetry_helps(parts, trained):
    plain, result = kraft.train(
        parts.train,
        kernel="matern52",
        length_scale=10.0,
        regularization=1e-10,
        permutations=None,
    )
    np.testing.assert_array_equal(result.permutations, np.arange(9)[None])
    assert result.symmetry is None and result.valid_force_mae is None
    assert _force_mae(trained[0], parts.test) < 0.9 * _force_mae(plain, parts.test)


def test_the_choice_beats_the_defaults_of_the_papers(parts, trained):
    chosen, result = kraft.train(parts.train, parts.valid, permutations=trained[1].permutations)
    assert result.choice.criterion == "validation" and len(result.choice.trials) > 10
    assert _force_mae(chosen, parts.test) < _force_mae(trained[0], parts.test)
    assert "validation" in chosen.record.choice


def test_training_again_gives_the_same_bits(parts):
    options = {"kernel": "gaussian", "seed": 5}
    some = parts.train.subset(range(20))
    first, second = (kraft.train(some, **options)[0] for _ in range(2))
    positions = parts.test.positions[:3]
    np.testing.assert_array_equal(first.predict(positions).forces, second.predict(positions).forces)


def test_training_leaves_the_data_alone(parts):
    before = parts.train.fingerprint
    kraft.train(parts.train.subset(range(5)), **PAPER)
    assert parts.train.fingerprint == before


def test_energy_labels_reduce_the_energy_error(parts, trained):
    without = trained[0]
    with_energies, result = kraft.train(
        parts.train,
        kernel="matern52",
        length_scale=10.0,
        regularization=1e-10,
        permutations=without.permutations,
        energy_weight=1.0,
    )
    assert without.parameters.energy_coefficients is None
    assert with_energies.parameters.energy_coefficients.shape == (60,)
    assert _energy_mae(with_energies, parts.test) < 0.97 * _energy_mae(without, parts.test)
    assert _force_mae(with_energies, parts.test) < 1.02 * _force_mae(without, parts.test)
    assert _energy_mae(with_energies, parts.train) < 0.1 * _energy_mae(without, parts.train)
    assert result.energy_offset.scatter < 0.1 * trained[1].energy_offset.scatter


def test_a_larger_weight_trusts_the_energies_more():
    training = toy_dataset(CHIRAL, 12)
    scatter = []
    for weight in (0.01, 0.1, 1.0, 10.0):
        _, result = kraft.train(training, energy_weight=weight, permutations=None, **PAPER)
        scatter.append(result.energy_offset.scatter)
    assert scatter == sorted(scatter, reverse=True) and scatter[-1] < 1e-5


def test_a_model_does_not_depend_on_how_the_molecule_lies():
    """Reduced bases differ when the training geometries are turned; predictions do not."""
    training, test = toy_dataset(WATER, 12), toy_dataset(WATER, 5, seed=4)
    model, _ = kraft.train(training, permutations=WATER.permutations, **PAPER)
    turns = [random_rotation(seed) for seed in range(12)]
    turned = Dataset(
        training.atomic_numbers,
        np.array([x @ q.T + 5.0 for x, q in zip(training.positions, turns, strict=True)]),
        np.array([f @ q.T for f, q in zip(training.forces, turns, strict=True)]),
        training.energies,
    )
    other, _ = kraft.train(turned, permutations=WATER.permutations, **PAPER)
    expected = model.predict(test.positions)
    got = other.predict(test.positions)
    np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.energies, expected.energies, rtol=0, atol=1e-5)


def test_permuting_a_training_frame_changes_nothing():
    training, test = toy_dataset(WATER, 8), toy_dataset(WATER, 5, seed=4)
    row = WATER.permutations[1]
    positions, forces = training.positions.copy(), training.forces.copy()
    positions[::2], forces[::2] = positions[::2][:, row], forces[::2][:, row]
    permuted = Dataset(training.atomic_numbers, positions, forces, training.energies)
    expected, got = (
        kraft.train(data, permutations=WATER.permutations, **PAPER)[0].predict(test.positions)
        for data in (training, permuted)
    )
    np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=1e-5)


@pytest.mark.parametrize("molecule", [HYDROGEN, CARBON_DIOXIDE], ids=str)
@pytest.mark.parametrize("energy_weight", [0.0, 1.0])
def test_linear_molecules(molecule, energy_weight):
    training = toy_dataset(molecule, 10)
    model, result = kraft.train(
        training, permutations=molecule.permutations, energy_weight=energy_weight, **PAPER
    )
    internal = 3 * molecule.n_atoms - 5 + int(energy_weight > 0.0)
    assert len(result.outcome.coefficients) == 10 * internal
    assert _force_mae(model, training) < 1e-3 * np.abs(training.forces).mean()


def test_a_linear_frame_among_bent_ones():
    training = toy_dataset(CHIRAL, 6)
    positions = training.positions.copy()
    positions[0] = np.linspace(0.0, 5.0, 5)[:, None] * np.array([1.0, 0.5, -0.3])
    energies, forces = pair_potential(training.atomic_numbers, positions)
    mixed = Dataset(training.atomic_numbers, positions, forces, energies)
    model, _ = kraft.train(mixed, permutations=None, **PAPER)
    assert _force_mae(model, mixed) < 1e-3 * np.abs(forces).mean()


def test_one_frame():
    training = toy_dataset(WATER, 1)
    model, _ = kraft.train(training, permutations=None, **PAPER)
    predicted = model.predict(training.positions)
    np.testing.assert_allclose(predicted.forces, training.forces, atol=1e-6)
    np.testing.assert_allclose(predicted.energies, training.energies)


@pytest.mark.parametrize("left_open", [{"kernel": "auto"}, {"length_scale": None}], ids=str)
def test_one_frame_alone_leaves_nothing_to_choose_by(left_open):
    training, validation = toy_dataset(WATER, 1), toy_dataset(WATER, 3, seed=1)
    options = {**PAPER, **left_open, "permutations": None}
    with pytest.raises(OptionError, match="One training frame alone"):
        kraft.train(training, **options)
    _, result = kraft.train(training, validation, **options)
    assert result.choice.criterion == "validation"


def test_a_periodic_cell():
    """A molecule across the boundary is the same molecule."""
    training = toy_dataset(WATER, 15)
    cell = np.diag([8.0, 9.0, 10.0])
    shifts = np.random.default_rng(0).integers(-1, 2, size=(15, 3, 3)) @ cell
    periodic = Dataset(
        training.atomic_numbers,
        training.positions + shifts,
        training.forces,
        training.energies,
        cell,
    )
    options = {**PAPER, "permutations": WATER.permutations}
    free, _ = kraft.train(training, **options)
    model, result = kraft.train(periodic, **options)
    assert len(result.outcome.coefficients) == 15 * 6  # rotations are no symmetry of a cell
    positions = WATER.frames(4, seed=8)
    expected = free.predict(positions)
    got = model.predict(positions + cell[1])
    np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=1e-4)
    np.testing.assert_allclose(got.energies, expected.energies, rtol=0, atol=1e-4)


def test_duplicate_frames_do_not_break_the_solver():
    training = toy_dataset(WATER, 6).subset([0, 1, 2, 3, 4, 5, 0])
    model, result = kraft.train(
        training, permutations=WATER.permutations, **{**PAPER, "regularization": 1e-8}
    )
    assert _force_mae(model, training) < 1e-3 * np.abs(training.forces).mean()
    assert result.outcome.jitter == 0.0


class TestRefusals:
    def test_permutations(self):
        training = toy_dataset(WATER, 4)
        with pytest.raises(SymmetryError, match="exchanges different"):
            kraft.train(training, permutations=[[0, 1, 2], [1, 0, 2]], **PAPER)
        with pytest.raises(SymmetryError, match=r"kraft\.symmetry\.group\.closure"):
            kraft.train(
                Dataset([1, 1, 1], training.positions, training.forces, training.energies),
                permutations=[[0, 1, 2], [1, 2, 0]],
                **PAPER,
            )
        with pytest.raises(OptionError, match="'auto'"):
            kraft.train(training, permutations="find", **PAPER)

    def test_validation_of_another_molecule(self):
        with pytest.raises(DataError, match="same molecule"):
            kraft.train(toy_dataset(WATER, 4), toy_dataset(CARBON_DIOXIDE, 4), **PAPER)

    def test_data_that_cannot_be_trained_on(self):
        bad = toy_dataset(WATER, 4)
        forces = bad.forces.copy()
        forces[2, 0, 0] = np.nan
        with pytest.raises(DataError, match="2"):
            kraft.train(Dataset(bad.atomic_numbers, bad.positions, forces, bad.energies), **PAPER)

    def test_energy_labels_without_energies(self):
        with pytest.raises(DataError, match="--energy-key"):
            kraft.train(toy_dataset(WATER, 4, energies=False), energy_weight=1.0, **PAPER)

    def test_too_little_memory(self):
        with pytest.raises(MemoryLimitError, match="--max-memory"):
            kraft.train(toy_dataset(WATER, 10), max_memory=1000, **PAPER)

    @pytest.mark.parametrize(
        "options",
        [{"kernel": "rbf"}, {"length_scale": -1.0}, {"device": "gpu"}, {"dtype": "half"}],
        ids=str,
    )
    def test_options(self, options):
        with pytest.raises(OptionError):
            kraft.train(toy_dataset(WATER, 4), **{**PAPER, **options})

    def test_interruption(self):
        def interrupt(stage, done, total):
            if stage == "assembling":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            kraft.train(toy_dataset(WATER, 4), progress=interrupt, **PAPER)


def test_an_edge_of_the_search_becomes_a_notice(monkeypatch):
    monkeypatch.setattr(selection, "LENGTH_SCALE_BOUNDS", (0.1, 0.2))
    monkeypatch.setattr(selection, "START", {"matern52": (0.15, 1e-8)})
    _, result = kraft.train(
        toy_dataset(WATER, 10),
        kernel="matern52",
        regularization=1e-8,
        permutations=WATER.permutations,
    )
    assert any("length scale chosen lies at the edge" in notice for notice in result.notices)


def _as_single(trained, dataset, regularization):
    return kraft.train(
        dataset,
        kernel="matern52",
        length_scale=10.0,
        regularization=regularization,
        permutations=trained[1].permutations,
        dtype="float32",
    )


def test_the_error_of_single_precision_is_measured_and_told(trained, parts):
    """Large coefficients that nearly cancel leave few digits of single precision."""
    model, result = _as_single(trained, parts.train, 1e-10)
    assert model.dtype == "float32"
    positions = parts.test.positions
    error = np.abs(model.predict(positions).forces - trained[0].predict(positions).forces).mean()
    assert result.rounding_error == pytest.approx(error, rel=0.5)
    assert model.rounding_error(positions) == pytest.approx(error, rel=1e-6)
    assert any("too much for this model" in notice for notice in result.notices)
    _, smooth = _as_single(trained, parts.train, 1e-3)
    assert 0.0 < smooth.rounding_error < 0.2 * result.rounding_error
    assert any("little beside" in notice for notice in smooth.notices)
    assert trained[1].rounding_error == trained[0].rounding_error(positions) == 0.0


def test_on_every_device(device):
    training = toy_dataset(WATER, 10)
    options = {**PAPER, "permutations": WATER.permutations}
    here, _ = kraft.train(training, **options)
    there, _ = kraft.train(training, device=device, **options)
    assert there.device == device
    positions = WATER.frames(3, seed=6)
    np.testing.assert_allclose(
        there.predict(positions).forces, here.predict(positions).forces, atol=1e-6
    )
