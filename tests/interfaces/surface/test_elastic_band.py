"""Reaction paths: the transition state is a saddle point, as high as a scan says."""

from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.trajectories import vibrations
from kraft.core.errors import GeometryError, OptionError
from kraft.interfaces.surface import find_path, relax, scan

HYDROXYL = (3, 2, 1, 0)


@pytest.fixture(scope="module")
def ends(ethanol_force_field, ethanol_parts):
    """Two minima that differ in the hydroxyl group, by a relaxed scan."""
    start = relax(ethanol_force_field, ethanol_parts.test.positions[3]).positions
    turned = scan(ethanol_force_field, start, HYDROXYL, np.arange(-180.0, 181.0, 20.0))
    barrier = turned.profile.barriers()[0]
    geometries = [
        turned.positions[
            np.abs((turned.values - place.coordinate + 180.0) % 360.0 - 180.0).argmin()
        ]
        for place in (barrier.start, barrier.end)
    ]
    return *geometries, barrier


@pytest.fixture(scope="module")
def path(ethanol_force_field, ends):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    return find_path(ethanol_force_field, ends[0], ends[1] @ turn.T + 5.0, n_images=7, fmax=0.005)


def test_barriers_are_those_of_the_scan(path, ends):
    barrier = ends[2]
    assert path.converged and path.climbed and path.has_barrier
    assert path.max_force < 0.005
    assert path.forward == pytest.approx(barrier.forward, abs=1e-3)
    assert path.reverse == pytest.approx(barrier.reverse, abs=1e-3)
    (found,) = path.barriers
    assert found.forward == pytest.approx(path.forward, abs=1e-3)


def test_the_top_is_a_transition_state(ethanol_force_field, path):
    modes = vibrations(ethanol_force_field, path.positions[path.top])
    assert modes.n_imaginary == 1
    assert modes.max_force < 0.005


def test_images_lie_along_the_path(path):
    assert path.lengths[0] == 0.0 and (np.diff(path.lengths) > 0.0).all()
    steps = np.diff(path.lengths)
    assert steps.max() < 2.5 * steps.min()
    assert path.positions.shape == (9, 9, 3) and path.order == tuple(range(9))


def test_exchanged_atoms_are_found(ethanol_force_field, ends):
    group = ethanol_force_field.permutations
    cyclic = next(p for p in group if (p != np.arange(9)).sum() == 3)
    exchanged = ends[1][cyclic]
    with pytest.raises(GeometryError, match="another order"):
        find_path(ethanol_force_field, ends[0], exchanged, max_steps=1)
    options = {"max_steps": 1, "relax_ends": False}
    nearest = find_path(ethanol_force_field, ends[0], exchanged, end_order="nearest", **options)
    np.testing.assert_array_equal(cyclic[list(nearest.order)], np.arange(9))
    kept = find_path(ethanol_force_field, ends[0], exchanged, end_order="keep", **options)
    assert kept.lengths[-1] > nearest.lengths[-1]


def test_unfinished_paths_say_so(ethanol_force_field, ends):
    short = find_path(ethanol_force_field, *ends[:2], max_steps=2)
    assert not short.converged and not short.interrupted and short.n_steps == 2
    stopped = find_path(
        ethanol_force_field, *ends[:2], relax_ends=False, stop_requested=lambda: True
    )
    assert stopped.interrupted and not stopped.converged
    assert np.isfinite(stopped.energies).all()


def test_what_makes_no_sense_is_refused(ethanol_force_field, ends):
    with pytest.raises(GeometryError, match="one minimum"):
        find_path(ethanol_force_field, ends[0], ends[0] + 1.0)
    with pytest.raises(OptionError, match="image"):
        find_path(ethanol_force_field, *ends[:2], n_images=0)
