import numpy as np
import pytest
from molecules import TWO_ROTORS, WATER
from toy_models import toy_dataset, toy_force_field

from kraft import Dataset, train
from kraft.models.energy_offset import fit_energy_offset

OPTIONS = {"kernel": "matern52", "length_scale": 3.0, "regularization": 1e-10}


def _trained_on(dataset, energies, forces=None):
    changed = Dataset(
        dataset.atomic_numbers,
        dataset.positions,
        dataset.forces if forces is None else forces,
        energies,
    )
    return train(changed, permutations=WATER.permutations, **OPTIONS)


@pytest.fixture(scope="module")
def dataset():
    return toy_dataset(WATER, 40)


def test_the_constant_and_its_scatter():
    field = toy_force_field(TWO_ROTORS)
    positions = TWO_ROTORS.frames(30)
    energies, forces = field.predict(positions)
    noise = np.resize([0.01, -0.01], 30)
    data = Dataset(field.atomic_numbers, positions, forces, energies + 100.0 + noise)
    offset, notices = fit_energy_offset(field, data)
    assert offset.value == pytest.approx(100.0) and offset.scatter == pytest.approx(0.01)
    assert offset.slope == pytest.approx(1.0, abs=0.1) and notices == ()


def test_sound_data_give_no_notice_and_right_energies(dataset):
    model, result = _trained_on(dataset, dataset.energies - 1000.0)
    assert result.energy_offset.slope == pytest.approx(1.0, abs=0.02)
    assert not any("Energies do not follow" in notice for notice in result.notices)
    predicted = model.predict(dataset.positions).energies
    assert np.abs(predicted - dataset.energies + 1000.0).max() < 0.05
    assert model.record.energy_offset_scatter == result.energy_offset.scatter


def test_without_energies_the_constant_is_zero(dataset):
    model, result = _trained_on(dataset, None)
    assert result.energy_offset is None and model.parameters.energy_offset == 0.0
    assert any("up to a constant" in notice for notice in result.notices)


@pytest.mark.parametrize(
    "energies, expected",
    [
        (lambda e, _: -e, "wrong sign"),
        (lambda e, _: 23.06 * e, "different units"),
        (lambda e, _: e / 27.2114, "different units"),
        (lambda e, _: e / 1.8897, "different units"),
        (lambda e, rng: rng.permutation(e), "different calculations"),
    ],
    ids=["sign", "kcal/mol", "hartree", "bohr", "shuffled"],
)
def test_what_does_not_belong_together_is_told(dataset, energies, expected):
    rng = np.random.default_rng(0)
    model, _ = _trained_on(dataset, None)
    data = Dataset(
        dataset.atomic_numbers, dataset.positions, dataset.forces, energies(dataset.energies, rng)
    )
    _, notices = fit_energy_offset(model, data)
    (notice,) = notices
    assert "Energies do not follow from the forces" in notice and expected in notice


def test_the_scatter_is_told_in_the_units_of_the_data(dataset):
    data = toy_dataset(WATER, 40)
    units = type(data.units)(energy="kcal/mol", length="Å")
    model, _ = _trained_on(dataset, None)
    data = Dataset(data.atomic_numbers, data.positions, data.forces, -data.energies, units=units)
    offset, (notice,) = fit_energy_offset(model, data)
    assert f"{offset.scatter / units.energy_factor:.3g} kcal/mol" in notice


def test_few_frames_are_not_judged(dataset):
    few = dataset.subset(range(5))
    _, result = _trained_on(few, -few.energies)
    assert not any("Energies do not follow" in notice for notice in result.notices)
    one = dataset.subset([0])
    _, result = _trained_on(one, one.energies)
    assert result.energy_offset.slope == 1.0 and result.energy_offset.scatter == 0.0
