from __future__ import annotations

import numpy as np
import pytest
from molecules import WATER
from toy_models import toy_dataset, toy_force_field

import kraft
from kraft.analysis.conservation import WorkDefect, work_defect
from kraft.core.errors import GeometryError, OptionError
from kraft.models import Prediction


class Twisted:
    """A force field with a force beside the gradient: a torque of strength ``twist``."""

    def __init__(self, force_field, twist):
        self.force_field, self.twist = force_field, twist

    def predict(self, positions):
        energies, forces = self.force_field.predict(positions)
        turn = np.cross([0.0, 0.0, self.twist], positions)
        return Prediction(energies, forces + turn)


@pytest.fixture
def path():
    steps = 0.02 * np.random.default_rng(0).normal(size=(70, 3, 3))
    return WATER.frames(1)[0] + np.cumsum(steps, axis=0)


def test_gradients_have_no_defect(path):
    defect = work_defect(toy_force_field(WATER), path)
    assert np.abs(np.diff(defect.energies)).max() > 1e-2
    assert defect.relative < 1e-9 and defect.largest_gain < 1e-8
    assert defect.work.shape == defect.defects.shape == (69,)


def test_the_defect_is_the_work_of_what_is_no_gradient(path):
    """A torque ``t`` around z does the work ``t · Σ (x dy - y dx)``, exact on straight segments."""
    twisted = work_defect(Twisted(toy_force_field(WATER), 0.3), path)
    middle, step = 0.5 * (path[1:] + path[:-1]), np.diff(path, axis=0)
    area = (middle[..., 0] * step[..., 1] - middle[..., 1] * step[..., 0]).sum(axis=1)
    np.testing.assert_allclose(twisted.defects, 0.3 * area, atol=1e-9)
    np.testing.assert_allclose(twisted.accumulated[1:], np.cumsum(0.3 * area), atol=1e-8)
    assert twisted.rms == pytest.approx(0.3 * np.sqrt((area**2).mean()), rel=1e-6)
    assert twisted.relative > 1e-4


def test_atomized_force_fields_gain_and_lose_energy_and_less_with_more_data():
    """Along a path inside the data the defect is small beside the energy differences, not zero."""
    frames = toy_dataset(WATER, 120)
    start, end = frames.positions[100:102]
    path = start + np.linspace(0.0, 1.0, 12)[:, None, None] * (end - start)
    defects = []
    for n in (15, 100):
        options = {"length_scale": 2.0, "regularization": 1e-9}
        aff, _ = kraft.train_aff(frames.subset(range(n)), **options)
        defects.append(work_defect(aff, path).relative)
    sgdml, _ = kraft.train(frames.subset(range(100)), kernel="matern52", **options)
    assert work_defect(sgdml, path).relative < 1e-7 < defects[1] < 0.1
    assert defects[1] < defects[0]


def test_a_coarse_quadrature_converges(path):
    field = toy_force_field(WATER)
    errors = [work_defect(field, path[::10], order=order).rms for order in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-4 * errors[0]


def test_a_still_molecule_has_no_relative_defect():
    assert np.isnan(WorkDefect(np.ones(3), np.zeros(2)).relative)


def test_paths_that_are_none(path):
    field = toy_force_field(WATER)
    for wrong in (path[:1], path[0]):
        with pytest.raises(GeometryError, match="at least two geometries"):
            work_defect(field, wrong)
    with pytest.raises(OptionError, match="order=0"):
        work_defect(field, path, order=0)
    with pytest.raises(GeometryError, match="molecule of 3 atoms"):
        work_defect(field, path[:, :2])


def test_progress_is_told(path):
    told = []
    work_defect(toy_force_field(WATER), path, progress=lambda *words: told.append(words))
    assert told == [("work", 0, 69), ("work", 64, 69), ("work", 69, 69)]
