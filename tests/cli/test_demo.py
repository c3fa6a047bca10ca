from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import kraft
from kraft.cli import demo as demo_module
from kraft.cli.demo import FIGURE_NAME, MODEL_NAME, DemoSettings, demo_dataset, run_demo
from kraft.cli.main import main

SMALL = DemoSettings(
    n_train=40,
    n_valid=20,
    n_test=60,
    smaller_sets=(10, 20),
    n_steps=100,
    n_equilibration=50,
    kernel="matern52",
    length_scale=10.0,
    regularization=1e-10,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_demo(demo_dataset(), tmp_path_factory.mktemp("demo") / "kraft-demo", SMALL)


def test_dataset_is_there_and_is_what_the_text_says():
    dataset = demo_dataset()
    assert (len(dataset), dataset.formula) == (2000, "C2H6O")
    assert "GFN2-xTB" in dataset.provenance.theory


def test_defaults_are_those_promised():
    settings = DemoSettings()
    assert (settings.n_train, settings.n_valid, settings.n_test) == (100, 100, 1000)
    assert settings.n_steps * settings.timestep == 1000.0  # fs
    assert (settings.temperature, settings.kernel) == (300.0, "auto")


def test_symmetries_are_found(done):
    assert len(done.training.permutations) == 6


def test_files_are_written_and_the_model_is_the_one_tested(done):
    assert {path.name for path in done.model_path.parent.iterdir()} == {MODEL_NAME, FIGURE_NAME}
    assert done.figure_path.read_bytes().startswith(b"\x89PNG")
    geometry = done.dataset.positions[:3]
    loaded = kraft.load(done.model_path)
    np.testing.assert_allclose(
        loaded.predict(geometry).energies, done.force_field.predict(geometry).energies, atol=1e-9
    )


def test_learning_curve_ends_with_the_model(done):
    np.testing.assert_array_equal(done.curve.n_train, [10, 20, 40])
    assert (np.diff(done.curve.force_mae) < 0.0).all()
    assert done.curve.force_mae[-1] == done.errors.force_mae
    assert done.errors.n_test == done.curve.n_test == 60


def test_dynamics_conserves_energy(done):
    assert done.nve.duration == pytest.approx(0.05)
    assert np.ptp(done.nve.total) < 0.05 * np.ptp(done.nve.kinetic)


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo_module, "DemoSettings", partial(replace, SMALL))
    folder, figures = tmp_path / "out", tmp_path / "demo.json"
    for _ in range(2):  # a second demo replaces the files of the first
        assert main(["demo", "-o", str(folder), "--json", str(figures), "--units", "eV"]) == 0
    said = capsys.readouterr().out
    for words in ("6 permutations", "eV/Å", "energy drift", "own data", "kraft train", str(folder)):
        assert words in said
    content = json.loads(figures.read_text())
    assert content["n_symmetries"] == 6
    assert content["units"] == {"energy": "eV", "force": "eV/Å"}
    assert content["learning_curve"]["force_mae"][-1] == pytest.approx(content["force_mae"])
    assert content["nve"]["timestep_fs"] == pytest.approx(0.5)
    assert content["timings"]["demo"] > 0.0


def test_a_file_in_place_of_the_folder_is_explained(tmp_path, capsys):
    (tmp_path / "taken").write_text("not a folder")
    assert main(["demo", "-o", str(tmp_path / "taken")]) == 1
    assert "taken" in capsys.readouterr().err
