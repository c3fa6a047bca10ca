from __future__ import annotations

import json

import ase.io
import ase.units
import numpy as np
import pytest
from molecules import CARBON_DIOXIDE, WATER
from toy_models import toy_force_field

from kraft.core.errors import ExtrapolationError, GeometryError, OptionError
from kraft.data.geometry import pair_distances
from kraft.interfaces.ipi.bead_watch import read_alarms, typical_geometry
from kraft.interfaces.ipi.driver import KraftDriver

BOX = 100.0 * np.eye(3)


@pytest.fixture(scope="module")
def water():
    return toy_force_field(WATER)


@pytest.fixture
def beads():
    """Positions of six beads in bohr."""
    return list(WATER.frames(6, seed=3) / ase.units.Bohr)


def test_values_are_the_models_in_atomic_units(water, beads):
    energy, forces, _, _ = KraftDriver(water)(BOX, beads[0])
    wanted = water.predict(beads[0] * 0.52917721067)  # CODATA 2014, independent of ase.units
    assert energy * 27.21138602 == pytest.approx(float(wanted.energies), rel=1e-9)
    np.testing.assert_allclose(forces * (27.21138602 / 0.52917721067), wanted.forces, rtol=1e-8)


def test_forces_are_the_gradient_in_atomic_units(water, beads):
    driver, step = KraftDriver(water), 1e-4
    _, forces, _, _ = driver(BOX, beads[1])
    for index in ((0, 1), (2, 2)):
        shift = np.zeros((3, 3))
        shift[index] = step
        slope = (driver(BOX, beads[1] + shift)[0] - driver(BOX, beads[1] - shift)[0]) / (2 * step)
        assert forces[index] == pytest.approx(-slope, rel=1e-5, abs=1e-7)


def test_the_virial_is_minus_the_derivative_by_strain(water, beads):
    driver, step = KraftDriver(water), 1e-5
    virial = driver(BOX, beads[1])[2]
    for row, column in ((0, 0), (1, 2), (2, 1)):
        strain = np.zeros((3, 3))
        strain[row, column] = step
        ends = [driver(BOX, beads[1] @ (np.eye(3) + sign * strain))[0] for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert virial[row, column] == pytest.approx(-slope, rel=1e-5, abs=1e-7)


def test_a_batch_is_one_prediction_and_equals_single_ones(water, beads, monkeypatch):
    singles = [KraftDriver(water)(BOX, bead) for bead in beads]
    driver = KraftDriver(water)
    sizes = []
    predict = type(water).predict

    def counting(self, positions, **options):
        sizes.append(np.shape(positions))
        return predict(self, positions, **options)

    monkeypatch.setattr(type(water), "predict", counting)
    batch = driver([BOX] * 6, beads)
    assert sizes == [(6, 3, 3)]
    for one, other in zip(singles, batch, strict=True):
        assert one[0] == pytest.approx(other[0], rel=1e-12)
        np.testing.assert_allclose(one[1], other[1], rtol=1e-9, atol=1e-12)
        assert json.loads(one[3])["novelty"] == pytest.approx(json.loads(other[3])["novelty"])


def test_extras_at_the_calls_asked_for(water, beads):
    driver = KraftDriver(water, interval="2", first="4")
    said = [json.loads(driver(BOX, beads[call])[3]) for call in range(3)]
    assert [np.isfinite(extra["novelty"]) for extra in said] == [True, False, True]
    assert said[2]["novelty"] == pytest.approx(float(water.novelty(beads[2] * ase.units.Bohr)))
    assert KraftDriver(water, interval=0)(BOX, beads[0])[3] == ""


def test_extras_have_deviations(ethanol_force_field, ethanol_parts):
    positions = ethanol_parts.test.positions[:2]
    driver = KraftDriver(ethanol_force_field, uncertainty="True")
    results = driver([BOX] * 2, list(positions / ase.units.Bohr))
    wanted = ethanol_force_field.predict(positions, uncertainty=True)
    for bead, result in enumerate(results):
        extras = json.loads(result[3])
        assert extras["energy_std"] == pytest.approx(wanted.energies_std[bead], rel=1e-6)
        assert extras["forces_std"] == pytest.approx(wanted.forces_std[bead].max(), rel=1e-6)


@pytest.fixture
def alarms(tmp_path):
    return tmp_path / "alarms.xyz"


def stretched(bead, bond):
    """A bead (bohr) whose first O-H has this length in Å."""
    moved, vector = bead.copy(), bead[1] - bead[0]
    moved[1] = moved[0] + vector * (bond / ase.units.Bohr / np.linalg.norm(vector))
    return moved


def test_extrapolation_stops_and_keeps_geometries(water, beads, alarms):
    novelty = [float(water.novelty(bead * ase.units.Bohr)) for bead in beads]
    near, far = beads[int(np.argmin(novelty))], beads[int(np.argmax(novelty))]
    limit = 0.5 * (min(novelty) + max(novelty))
    driver = KraftDriver(water, max_novelty=limit, on_extrapolation="stop", alarms=alarms)
    driver([BOX] * 2, [near, near])
    for _ in range(2):  # i-PI asks again after an error
        with pytest.raises(GeometryError, match=r"Bead 1 after 1 steps: .* is unlike"):
            driver([BOX] * 2, [near, far])
    sound, bad = ase.io.read(alarms, ":")
    np.testing.assert_allclose(sound.positions, near * ase.units.Bohr, rtol=1e-12)
    np.testing.assert_allclose(bad.positions, far * ase.units.Bohr, rtol=1e-12)
    assert (bad.info["bead"], bad.info["alarm"], list(bad.numbers)) == (1, "novelty", [8, 1, 1])
    assert sound.info["sound"] and not bad.info["sound"]


def test_a_broken_bond_of_one_bead_stops(water, beads, alarms, tmp_path):
    start = tmp_path / "start.xyz"
    ase.io.write(start, ase.Atoms(WATER.atomic_numbers, WATER.positions))
    options = {"on_extrapolation": "stop", "check_order": False}
    driver = KraftDriver(water, alarms=alarms, start=start, **options)
    driver([BOX] * 2, beads[:2])
    with pytest.raises(GeometryError, match=r"Bead 1 after 1 steps: The bond O0-H1 is 2\.50 Å"):
        driver([BOX] * 2, [beads[0], stretched(beads[1], 2.5)])
    near = stretched(beads[1], 0.4)
    with pytest.raises(GeometryError, match=r"Bead 0 after 1 steps: Atoms O0-H1 are 0\.40 Å"):
        driver([BOX] * 2, [near, beads[0]])
    assert [alarm.reason for alarm in read_alarms(alarms)] == ["broken bond", "close contact"]
    without_start = KraftDriver(water, **options)  # the training geometries tell the bonds
    without_start([BOX] * 2, beads[:2])
    with pytest.raises(GeometryError, match="The bond O0-H1"):
        without_start([BOX] * 2, [beads[0], stretched(beads[1], 2.5)])


def test_extrapolation_may_be_written_down_only_once_for_each_kind(water, beads, alarms):
    driver = KraftDriver(water, max_novelty=1e-3, alarms=alarms)
    for _ in range(2):
        driver([BOX] * 2, beads[:2])
    far = stretched(beads[1], 2.5)
    resumed = KraftDriver(water, max_novelty=1e-3, alarms=alarms, continued="True")
    resumed([BOX] * 2, beads[:2])
    driver([BOX] * 2, [beads[0], far])
    found = read_alarms(alarms)
    assert [(a.step, a.bead, a.reason) for a in found] == [
        (0, 0, "novelty"),
        (0, 1, "novelty"),
        (2, 1, "broken bond"),
    ]
    assert "The bond O0-H1 is 2.50 Å" in found[2].message
    assert len(ase.io.read(alarms, ":")) == 4  # and the last sound one before the third
    ignored = KraftDriver(water, max_novelty=1e-3, alarms=alarms, on_extrapolation="ignore")
    ignored([BOX] * 2, [beads[0], far])
    assert len(ase.io.read(alarms, ":")) == 4
    another = KraftDriver(water, max_novelty=1e-3, alarms=alarms)  # of another simulation
    another([BOX] * 2, beads[:2])
    assert len(ase.io.read(alarms, ":")) == 6


def test_bonds_are_those_of_a_typical_training_geometry(water, beads):
    """Whatever comes first: a simulation may be taken up where another driver has stopped."""
    told = []
    driver = KraftDriver(water, on_alarm=told.append, check_order=False)
    driver(BOX, stretched(beads[0], 2.5))
    driver(BOX, stretched(beads[0], 0.4))
    assert [(a.step, a.reason) for a in told] == [(0, "broken bond"), (1, "close contact")]
    typical = typical_geometry(water)
    distances = pair_distances(water.parameters.training_positions)
    away = np.abs(pair_distances(typical[None]) - np.median(distances, axis=0)).max()
    assert away == np.abs(distances - np.median(distances, axis=0)).max(axis=1).min()


def test_an_uncertainty_may_be_an_alarm(ethanol_force_field, ethanol_parts):
    positions = np.concatenate(
        [ethanol_parts.train.positions[:2], ethanol_parts.test.positions[:1]]
    )
    predicted = ethanol_force_field.predict(positions, uncertainty=True)
    largest = predicted.forces_std.max(axis=(1, 2))
    limit = 0.5 * (largest[1] + largest[2])
    driver = KraftDriver(ethanol_force_field, max_force_std=str(limit), on_extrapolation="stop")
    energy, _, _, extras = driver([BOX] * 2, list(positions[:2] / ase.units.Bohr))[1]
    assert energy * ase.units.Hartree == pytest.approx(predicted.energies[1], rel=1e-9)
    assert list(json.loads(extras)) == ["novelty"]  # the deviations were not asked for
    with pytest.raises(ExtrapolationError, match="standard deviation of") as caught:
        driver([BOX] * 2, list(positions[1:] / ase.units.Bohr))
    assert (caught.value.step, caught.value.bead) == (1, 1)
    assert caught.value.seen.startswith("A force has")


def test_a_start_of_another_molecule(water, beads, tmp_path):
    ase.io.write(tmp_path / "two.xyz", ase.Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    driver = KraftDriver(water, on_extrapolation="stop", start=tmp_path / "two.xyz")
    with pytest.raises(GeometryError, match="has 2 atoms, the simulation has 3"):
        driver(BOX, beads[0])


@pytest.mark.parametrize(
    "options",
    [
        {"colour": "red"},
        {"interval": "often"},
        {"uncertainty": "maybe"},
        {"threads": "0"},
        {"max_novelty": "-1"},
        {"max_force_std": "large"},
        {"continued": "perhaps"},
    ],
)
def test_bad_options(water, options):
    with pytest.raises(OptionError, match="Expected"):
        KraftDriver(water, **options)


def test_other_molecules_and_orders_are_refused(ethanol_force_field, ethanol_parts):
    driver = KraftDriver(ethanol_force_field)
    with pytest.raises(GeometryError, match="for 9 atoms, i-PI has 3"):
        driver(BOX, CARBON_DIOXIDE.positions / ase.units.Bohr)
    exchanged = ethanol_parts.test.positions[0][[1, 0, 2, 3, 4, 5, 6, 7, 8]]
    with pytest.raises(GeometryError, match=r"[Oo]rder"):
        driver(BOX, exchanged / ase.units.Bohr)


def test_a_periodic_model_wants_its_cell(beads):
    driver = KraftDriver(toy_force_field(WATER, cell=8.0 * np.eye(3)), check_order=False)
    with pytest.raises(GeometryError, match="cell"):
        driver(BOX, beads[0])
    virial = driver(8.0 * np.eye(3) / ase.units.Bohr, beads[0])[2]
    assert np.isnan(virial).all()
