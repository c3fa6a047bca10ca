"""calibrate, and the uncertainties of train, test, predict and info."""

from __future__ import annotations

import dataclasses
import json

import ase.io
import numpy as np
import pytest

import kraft
from kraft.cli.main import main

FIXED = ["--kernel", "matern52", "--length-scale", "20", "--regularization", "1e-10"]


def read_json(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def calibrated_file(folder, data_file):
    """A model of 20 frames, calibrated on 25 validation frames when it was trained."""
    path = folder / "calibrated.safetensors"
    words = ["train", str(data_file), "--n-train", "20", "--n-valid", "25", *FIXED]
    assert main([*words, "-o", str(path), "--json", str(folder / "calibrated.json")]) == 0
    return path


def test_training_calibrates_on_enough_validation_frames(calibrated_file, folder, model_file):
    calibration = kraft.load(calibrated_file).calibration
    assert calibration.n_geometries == 25
    assert set(calibration.indices) == set(kraft.load(calibrated_file).record.valid_indices)
    figures = read_json(folder / "calibrated.json")["calibration"]
    assert figures["forces"] == calibration.forces and figures["method"] == "exact"
    assert kraft.load(model_file).calibration is None  # 10 validation frames are too few


def test_training_without_calibration(run, data_file, tmp_path):
    words = ["train", data_file, "--n-train", 20, "--n-valid", 25, *FIXED, "-o", "m.safetensors"]
    assert run(*words, "--no-calibrate") == 0
    assert kraft.load(tmp_path / "m.safetensors").calibration is None


def test_asking_for_a_calibration_on_too_few_frames(run, data_file, tmp_path, capsys):
    words = ["train", data_file, "--n-train", 20, "--n-valid", 10, *FIXED, "-o", "m.safetensors"]
    assert run(*words, "--calibrate") == 1
    assert "at least 20 of them, but --n-valid is 10" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "m.safetensors").exists()


def test_calibrate_leaves_training_frames_out(run, model_file, data_file, tmp_path, capsys):
    words = ["calibrate", model_file, data_file, "-o", "c.safetensors", "--json", "c.json"]
    assert run(*words) == 0
    shown = capsys.readouterr()
    assert "Left out 20 frames that the model was trained on" in shown.err
    assert "95 % ones covered" in shown.out
    made = kraft.load(tmp_path / "c.safetensors")
    assert made.calibration.n_geometries == 60
    assert not set(made.calibration.indices) & set(made.record.train_indices)
    assert read_json(tmp_path / "c.json")["calibration"]["forces"] == made.calibration.forces
    expected = kraft.load(model_file)
    rest = kraft.read(data_file).subset(made.calibration.indices)
    assert expected.calibrated(rest).calibration.forces == pytest.approx(made.calibration.forces)
    assert run("test", "c.safetensors", data_file) == 1  # it has seen all of them
    assert "made with all 80 frames" in " ".join(capsys.readouterr().err.split())


def test_calibrate_on_some_and_test_on_the_others(run, model_file, data_file, tmp_path, capsys):
    assert run("calibrate", model_file, data_file, "-o", "c.safetensors", "--n", 30) == 0
    words = ["test", "c.safetensors", data_file, "--uncertainty", "--json", "t.json"]
    assert run(*words) == 0
    assert "that the model was calibrated on" in " ".join(capsys.readouterr().err.split())
    figures = read_json(tmp_path / "t.json")
    assert figures["n_test"] <= 30 and figures["uncertainty"]["calibrated"] is True
    assert run("calibrate", model_file, data_file, "-o", "c.safetensors") == 1
    assert run("calibrate", model_file, data_file, "-o", "c.npz") == 1
    assert run("calibrate", model_file, data_file, "-o", "d.safetensors", "--n", 61) == 1
    assert run("calibrate", model_file, data_file, "-o", "d.safetensors", "--n", 19) == 1
    assert not (tmp_path / "d.safetensors").exists()


def test_test_reports_uncertainty(run, calibrated_file, data_file, tmp_path, capsys):
    words = ["test", calibrated_file, data_file, "--json", "t.json", "--units", "kcal/mol"]
    assert run(*words, "--uncertainty", "--plot", "p.png") == 0
    shown = capsys.readouterr()
    assert "95 % intervals (exact, calibrated on 25 frames)" in shown.out
    assert "kcal/mol" in shown.out and "Exact posterior" in shown.err
    figures = read_json(tmp_path / "t.json")["uncertainty"]
    model = kraft.load(calibrated_file)
    rest = np.setdiff1d(np.arange(80), [*model.record.train_indices, *model.record.valid_indices])
    data = kraft.read(data_file).subset(rest)
    predicted = model.predict(data.positions, uncertainty=True)
    factor = kraft.Units("kcal/mol").force_factor
    for name, error, std in (
        ("forces", predicted.forces - data.forces, predicted.forces_std),
        ("energies", predicted.energies - data.energies, predicted.energies_std),
    ):
        got = figures[name]
        assert got["interval_coverage"] == pytest.approx((np.abs(error) <= 1.96 * std).mean())
        assert got["interval_length"] == pytest.approx(2 * 1.959964 * std.mean() / factor)
        assert 0.0 <= got["miscalibration"] <= 0.5
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert run(*words) == 0
    assert "uncertainty" not in read_json(tmp_path / "t.json")


def test_a_plot_implies_uncertainty_and_needs_a_name(run, calibrated_file, data_file, tmp_path):
    assert run("test", calibrated_file, data_file, "--n-test", 10, "--plot", "p.svg") == 0
    assert (tmp_path / "p.svg").exists()
    assert run("test", calibrated_file, data_file, "--plot", "p.txt") == 1


def test_another_method_is_not_calibrated(run, calibrated_file, data_file, capsys):
    words = ["test", calibrated_file, data_file, "--n-test", 10]
    assert run(*words, "--uncertainty-method", "committee") == 0
    shown = capsys.readouterr()
    assert "not calibrated" in shown.out
    assert "calibration is for the method exact, not for committee" in shown.err
    assert run(*words, "--uncertainty-method", "guess") == 2
    assert run(*words, "--uncertainty", "--uncertainty-memory", "much") == 1
    assert run(*words, "--uncertainty-method", "exact", "--uncertainty-memory", "1kB") == 1


def test_predict_writes_standard_deviations(run, calibrated_file, few_frames, tmp_path):
    atoms = [
        ase.Atoms(numbers=few_frames.atomic_numbers, positions=p) for p in few_frames.positions[:4]
    ]
    ase.io.write(tmp_path / "g.xyz", atoms)
    words = ["predict", calibrated_file, "g.xyz", "--uncertainty"]
    assert run(*words, "-o", "p.xyz", "--json", "p.json") == 0
    assert run(*words, "-o", "p.npz") == 0
    frames = ase.io.read(tmp_path / "p.xyz", ":")
    model = kraft.load(calibrated_file)
    expected = model.predict(np.array([a.positions for a in frames]), uncertainty=True)
    np.testing.assert_allclose(
        [a.arrays["forces_std"] for a in frames], expected.forces_std, rtol=1e-9
    )
    np.testing.assert_allclose([a.info["energy_std"] for a in frames], expected.energies_std)
    np.testing.assert_allclose([a.get_forces() for a in frames], expected.forces, atol=1e-10)
    with np.load(tmp_path / "p.npz") as archive:
        np.testing.assert_allclose(archive["F_std"], expected.forces_std, rtol=1e-9)
        assert archive["E_std"].shape == archive["novelty"].shape == (4,)
    figures = read_json(tmp_path / "p.json")
    np.testing.assert_allclose(
        figures["energies_std"], expected.energies_std / kraft.Units("kcal/mol").energy_factor
    )
    assert len(figures["novelty"]) == 4


def test_info_tells_kind_and_calibration(run, calibrated_file, model_file, tmp_path, capsys):
    assert run("info", calibrated_file, "--json", "i.json") == 0
    shown = capsys.readouterr().out
    assert "sGDML, forces are the gradient of the energy" in shown
    assert "exact uncertainty on 25 frames of ethanol.npz" in shown
    figures = read_json(tmp_path / "i.json")
    assert figures["model_kind"] == "sgdml" and figures["conservative"] is True
    assert figures["calibration"]["n_geometries"] == 25
    assert run("info", model_file, "--json", "i.json") == 0
    assert "kraft calibrate" in capsys.readouterr().out
    assert read_json(tmp_path / "i.json")["calibration"] is None


def test_models_of_sgdml_have_no_uncertainty(run, calibrated_file, data_file, capsys):
    assert run("convert", calibrated_file, "m.npz") == 0
    capsys.readouterr()
    assert run("test", "m.npz", data_file, "--uncertainty", "--n-test", 5) == 1
    assert "needs the training geometries" in " ".join(capsys.readouterr().err.split())


ATOMIZED = ["--model", "aff", "--length-scale", "20", "--regularization", "1e-8"]


@pytest.fixture(scope="module")
def atomized_file(folder, data_file):
    path = folder / "atomized.safetensors"
    words = ["train", str(data_file), "--n-train", "20", "--n-valid", "25", *ATOMIZED]
    assert main([*words, "-o", str(path), "--json", str(folder / "atomized.json")]) == 0
    return path


def test_training_an_atomized_model(atomized_file, folder, few_frames):
    figures = read_json(folder / "atomized.json")
    model = kraft.load(atomized_file)
    assert figures["model_kind"] == "aff" and not model.conservative
    assert [entry["atoms"] for entry in figures["sets"]] == [
        atoms.tolist() for atoms in model.parameters.atom_sets
    ]
    assert figures["n_labels"] == sum(entry["n_labels"] for entry in figures["sets"]) == 540
    kcal = kraft.Units("kcal/mol").energy_factor
    np.testing.assert_allclose(
        [entry["variance"] for entry in figures["sets"]],
        model.parameters.set_variances / kcal**2,
    )
    assert figures["calibration"]["n_geometries"] == 25 == model.calibration.n_geometries
    seen = [*model.record.train_indices, *model.record.valid_indices]
    rest = few_frames.subset(np.setdiff1d(np.arange(80), seen))
    errors = np.abs(model.predict(rest.positions).forces - rest.forces)
    assert figures["force_mae"] == pytest.approx(errors.mean() / kcal)


def test_the_summary_of_an_atomized_model_is_honest(run, data_file, capsys):
    words = ["train", data_file, "--n-train", 20, *ATOMIZED, "-o", "a.safetensors"]
    assert run(*words) == 0
    shown = capsys.readouterr()
    assert "not exactly the gradient of its energy" in shown.err
    assert "atoms 6 7 8" in shown.out and "Gflop" in shown.out and "std" in shown.out


def test_all_commands_take_an_atomized_model(run, atomized_file, data_file, tmp_path, capsys):
    assert run("info", atomized_file, "--json", "i.json") == 0
    assert "AFF, forces are not exactly the gradient" in capsys.readouterr().out
    figures = read_json(tmp_path / "i.json")
    assert figures["conservative"] is False and len(figures["atom_sets"]) == 6
    assert run("test", atomized_file, data_file, "--plot", "p.png", "--json", "t.json") == 0
    assert read_json(tmp_path / "t.json")["uncertainty"]["method"] == "exact"
    assert run("predict", atomized_file, data_file, "--uncertainty", "-o", "p.xyz") == 0
    assert run("calibrate", atomized_file, data_file, "-o", "c.safetensors") == 0
    assert run("convert", atomized_file, "m.npz") == 1
    assert "sgdml has no AFF models" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rank", "50"], "--rank does not apply to --model aff"),
        (["--max-time", "1h", "--resume"], "--max-time and --resume do not apply"),
        (["--energy-weight", "1"], "--energy-weight does not apply"),
        (["--max-memory", "10KB"], "memory"),
        (["--max-memory", "much"], "Expected an amount of memory"),
    ],
)
def test_options_that_an_atomized_model_does_not_have(
    run, data_file, tmp_path, capsys, words, message
):
    given = ["train", data_file, "--n-train", 20, *ATOMIZED, *words, "-o", "a.safetensors"]
    assert run(*given) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "a.safetensors").exists()


def test_options_of_atomized_models_only(run, data_file, capsys):
    given = ["train", data_file, "--n-train", 20, *FIXED, "-o", "a.safetensors"]
    assert run(*given, "--criterion", "likelihood") == 1
    assert "--criterion is for --model aff only" in " ".join(capsys.readouterr().err.split())


def test_an_atomized_model_without_energies(run, few_frames, tmp_path, capsys):
    kraft.write(dataclasses.replace(few_frames, energies=None), tmp_path / "forces.npz")
    words = ["train", "forces.npz", "--n-train", 20, "--n-valid", 25, *ATOMIZED]
    assert run(*words, "-o", "a.safetensors") == 0
    assert run("test", "a.safetensors", "forces.npz", "--uncertainty", "--json", "t.json") == 0
    figures = read_json(tmp_path / "t.json")
    assert figures["energy_mae"] is None and figures["uncertainty"]["energies"] is None
    words = ["predict", "a.safetensors", "forces.npz", "--uncertainty"]
    assert run(*words, "-o", "p.xyz", "--json", "p.json") == 0
    assert "trained without energies" in capsys.readouterr().out
    assert read_json(tmp_path / "p.json")["energies_std"] is None
    frame = ase.io.read(tmp_path / "p.xyz")
    assert "energy" not in frame.calc.results and "energy_std" not in frame.info
    assert frame.arrays["forces_std"].shape == (9, 3)
    assert run(*words, "-o", "p.npz") == 0
    with np.load(tmp_path / "p.npz") as archive:
        assert "E_std" not in archive and "F_std" in archive
    assert np.isnan(kraft.load("a.safetensors").predict(few_frames.positions[0]).energies)
