from __future__ import annotations

import json

import ase.io
import ase.units
import numpy as np
import pytest
from molecules import CARBON_DIOXIDE, WATER
from toy_models import toy_force_field

from kraft.core.errors import GeometryError, OptionError
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


def test_extrapolation_stops_and_keeps_geometries(water, beads, tmp_path):
    alarms = tmp_path / "alarms.xyz"
    far = beads[0] * 2.0
    limit = 0.5 * (water.novelty(beads[0] * ase.units.Bohr) + water.novelty(far * ase.units.Bohr))
    assert limit < water.novelty(far * ase.units.Bohr)
    driver = KraftDriver(
        water, max_novelty=limit, on_extrapolation="stop", alarms=alarms, check_order=False
    )
    driver([BOX] * 2, [beads[0], beads[0]])
    with pytest.raises(GeometryError, match=r"Bead 1 is unlike .* after 1 steps"):
        driver([BOX] * 2, [beads[0], far])
    sound, bad = ase.io.read(alarms, ":")
    np.testing.assert_allclose(sound.positions, beads[0] * ase.units.Bohr, rtol=1e-12)
    np.testing.assert_allclose(bad.positions, far * ase.units.Bohr, rtol=1e-12)
    assert (bad.info["bead"], list(bad.numbers)) == (1, [8, 1, 1])


def test_extrapolation_may_be_written_down_only(water, beads, tmp_path):
    alarms = tmp_path / "alarms.xyz"
    driver = KraftDriver(water, max_novelty=1e-3, alarms=alarms)
    driver(BOX, beads[0])
    assert len(ase.io.read(alarms, ":")) == 1


@pytest.mark.parametrize(
    "options",
    [{"colour": "red"}, {"interval": "often"}, {"uncertainty": "maybe"}, {"threads": "0"}],
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
