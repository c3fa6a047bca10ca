"""A tiny system: 12 geometries of ethanol."""

from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.preconditioner_study.systems import StudySystem, study_system
from kraft.data import Dataset


@pytest.fixture(scope="session")
def few(ethanol: Dataset) -> Dataset:
    return ethanol.subset(np.arange(0, 1800, 150))


@pytest.fixture(scope="session")
def system(few: Dataset) -> StudySystem:
    return study_system(few, permutations=None, regularization=1e-6)


@pytest.fixture(scope="session")
def matrix(system: StudySystem) -> np.ndarray:
    return system.stored().matrix.numpy()
