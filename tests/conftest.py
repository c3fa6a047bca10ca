"""Fixtures that all layers use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_PROJECT = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of third-party data (``data/``, ``models/``, ``geometries/``); skip without it."""
    folder = Path(os.environ.get("KRAFT_REFERENCE_DATA", _BESIDE_PROJECT))
    if not (folder / "data").is_dir():
        pytest.skip(
            f"no reference data in {folder}: set KRAFT_REFERENCE_DATA to the folder that holds them"
        )
    return folder
