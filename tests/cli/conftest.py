"""Small files to run commands on: a few frames of ethanol and a model of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import kraft
from kraft.cli.main import main
from kraft.data import Dataset

FIXED = ["--kernel", "matern52", "--length-scale", "20", "--regularization", "1e-10"]
"""Hyper-parameters given, so that a training takes a moment."""

Run = Callable[..., int]


@pytest.fixture(scope="session")
def few_frames() -> Dataset:
    """80 frames of ethanol."""
    path = Path(str(files("kraft.datasets") / "ethanol_gfn2.npz"))
    return kraft.read(path).subset(np.arange(0, 2000, 25))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="session")
def data_file(folder: Path, few_frames: Dataset) -> Path:
    path = folder / "ethanol.npz"
    kraft.write(few_frames, path)
    return path


@pytest.fixture(scope="session")
def model_file(folder: Path, data_file: Path) -> Path:
    """A model trained on 20 frames and validated on 10 others of ``data_file``."""
    path = folder / "model.safetensors"
    arguments = ["train", str(data_file), "--n-train", "20", "--n-valid", "10", *FIXED]
    assert main([*arguments, "-o", str(path)]) == 0
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in an empty folder and return its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> int:
        return main([str(argument) for argument in arguments])

    return call
