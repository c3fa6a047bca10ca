"""Force fields and starts for dynamics."""

from __future__ import annotations

import numpy as np
import pytest

import kraft


@pytest.fixture(scope="session")
def poor(ethanol) -> kraft.ForceField:
    """A force field of so few frames that its molecule falls apart."""
    parts = kraft.split(ethanol, n_train=10, n_test=20)
    return kraft.train(parts.train, kernel="matern52", length_scale=10.0, regularization=1e-10)[0]


@pytest.fixture(scope="session")
def starts(ethanol_parts) -> np.ndarray:
    """Three geometries of ethanol."""
    return ethanol_parts.test.positions[:3]
