"""Minima and barriers of curves that are known."""

from __future__ import annotations

import numpy as np
import pytest

from kraft.interfaces.surface import Profile


def cosine(fold, n=37, phase=0.0, first=0.0):
    """Barriers of 0.1 eV in a full turn, minima at ``phase``."""
    x = np.linspace(first, first + 360.0, n)
    angle = np.radians(fold * (x - phase))
    return Profile(
        x, 0.05 * (1.0 - np.cos(angle)), 0.05 * np.radians(fold) * np.sin(angle), full_turn=True
    )


@pytest.mark.parametrize("phase", [0.0, 13.0, 60.0, 100.0])
@pytest.mark.parametrize("first", [0.0, -77.0])
def test_a_full_turn_has_every_point_once(phase, first):
    profile = cosine(3, phase=phase, first=first)
    assert len(profile.minima()) == len(profile.tops()) == len(profile.barriers()) == 3
    for minimum in profile.minima():
        assert (minimum.coordinate - phase + 1.0) % 120.0 == pytest.approx(1.0, abs=0.1)
        assert minimum.energy == pytest.approx(0.0, abs=1e-5)
    for barrier in profile.barriers():
        assert barrier.start.coordinate < barrier.top.coordinate < barrier.end.coordinate
        assert barrier.forward == pytest.approx(0.1, rel=1e-3)
        assert barrier.reverse == pytest.approx(0.1, rel=1e-3)


def test_two_minima_of_different_depth():
    x = np.linspace(-1.6, 1.6, 15)
    energy, slope = x**4 - 2.0 * x**2 + 0.2 * x, 4.0 * x**3 - 4.0 * x + 0.2
    roots = np.sort(np.roots([4.0, 0.0, -4.0, 0.2]).real)
    exact = [r**4 - 2.0 * r**2 + 0.2 * r for r in roots]
    profile = Profile(x, energy, slope)
    (barrier,) = profile.barriers()
    found = [p.coordinate for p in (barrier.start, barrier.top, barrier.end)]
    np.testing.assert_allclose(found, roots, atol=3e-3)
    assert barrier.forward == pytest.approx(exact[1] - exact[0], rel=2e-3)
    assert barrier.reverse == pytest.approx(exact[1] - exact[2], rel=2e-3)


def test_noise_is_no_barrier():
    profile = cosine(1)
    noisy = Profile(
        profile.coordinates,
        profile.energies + 1e-6 * (-1.0) ** np.arange(37),
        profile.slopes + 1e-5 * (-1.0) ** np.arange(37),
        full_turn=True,
    )
    assert len(noisy.barriers()) == 1


def test_ends_of_a_path_are_minima():
    x = np.linspace(0.0, 1.0, 5)
    energy, slope = 0.1 * np.sin(np.pi * x), 0.1 * np.pi * np.cos(np.pi * x)
    (barrier,) = Profile(x, energy, slope, between_minima=True).barriers()
    assert (barrier.start.coordinate, barrier.end.coordinate) == (0.0, 1.0)
    assert barrier.forward == pytest.approx(0.1, rel=1e-2)


def test_a_slope_without_end_has_no_barrier():
    x = np.linspace(0.0, 1.0, 5)
    profile = Profile(x, x, np.ones(5))
    assert profile.minima() == profile.tops() == profile.barriers() == ()
