"""info, convert, test, predict, estimate on sound input."""

from __future__ import annotations

import json
import re

import ase.io
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import kraft


def read_json(path):
    return json.loads(path.read_text())


def test_info_describes_data(run, data_file, tmp_path, capsys):
    assert run("info", data_file, "--symmetry", "--json", "i.json") == 0
    figures = read_json(tmp_path / "i.json")
    assert figures["kind"] == "dataset"
    assert (figures["n_frames"], figures["n_atoms"], figures["formula"]) == (80, 9, "C2H6O")
    assert figures["n_symmetries"] == 6
    forces = kraft.read(data_file).forces / kraft.Units("kcal/mol").energy_factor
    assert figures["force_std"] == pytest.approx(forces.std())
    assert "80" in (shown := capsys.readouterr().out)
    assert "C2H6O" in shown
    assert "6 permutations" in shown


def test_info_describes_a_model(run, model_file, tmp_path, capsys):
    assert run("info", model_file, "--json", "i.json") == 0
    figures = read_json(tmp_path / "i.json")
    record = kraft.load(model_file).record
    assert figures["kind"] == "model"
    assert figures["n_train"] == 20
    assert figures["record"]["train_indices"] == list(record.train_indices)
    assert "Matérn-5/2" in capsys.readouterr().out


def test_info_advises_and_fails_on_fatal_findings(run, few_frames, tmp_path, capsys):
    positions = few_frames.positions.copy()
    positions[5, 1] = positions[5, 0]
    broken = kraft.Dataset(
        few_frames.atomic_numbers, positions, few_frames.forces, few_frames.energies
    )
    kraft.write(broken, tmp_path / "broken.npz")
    assert run("info", "broken.npz") == 1
    shown = capsys.readouterr().out
    assert "fatal" in shown
    assert "frame 5" in shown
    assert "Remove these frames" in shown


def test_convert_data_there_and_back(run, data_file, few_frames, tmp_path):
    assert run("convert", data_file, "e.xyz") == 0
    assert run("convert", "e.xyz", "back.npz", "--units", "kcal/mol") == 0
    back = kraft.read(tmp_path / "back.npz")
    np.testing.assert_allclose(back.positions, few_frames.positions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(back.forces, few_frames.forces, rtol=1e-12, atol=1e-12)
    assert back.units == kraft.Units("kcal/mol")
    assert len(ase.io.read(tmp_path / "e.xyz", ":")) == 80


def test_convert_model_there_and_back(run, model_file, few_frames, tmp_path):
    assert run("convert", model_file, "m.npz") == 0
    assert run("convert", "m.npz", "back.safetensors") == 0
    expected = kraft.load(model_file).predict(few_frames.positions)
    found = kraft.load(tmp_path / "back.safetensors").predict(few_frames.positions)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-9)
    assert run("test", "m.npz", model_file.parent / "ethanol.npz") == 0
    assert run("info", "m.npz") == 0


def test_convert_passes_on_what_sgdml_cannot_do(run, data_file, capsys):
    given = ["--kernel", "matern52", "--length-scale", "20.5", "--regularization", "1e-10"]
    assert run("train", data_file, "--n-train", 5, *given, "-o", "m.safetensors") == 0
    capsys.readouterr()
    assert run("convert", "m.safetensors", "m.npz") == 0
    assert "note: The length scale 20.5 is not a whole number" in capsys.readouterr().err


def test_assumptions_about_an_imported_model_are_shown(run, model_file, data_file, capsys):
    assert run("convert", model_file, "m.npz") == 0
    with np.load("m.npz") as archive:
        arrays = {key: archive[key] for key in archive.files if key not in ("e_unit", "r_unit")}
    np.savez("unitless.npz", **arrays)
    capsys.readouterr()
    for words in (["info"], ["test", data_file], ["predict", data_file, "-o", "p.xyz"]):
        assert run(words[0], "unitless.npz", *words[1:]) == 0
        assert "note: unitless.npz does not name all its units" in capsys.readouterr().err


def test_an_imported_model_is_tested_without_its_training_frames(
    run, model_file, data_file, tmp_path, capsys
):
    assert run("convert", model_file, "m.npz") == 0
    assert run("test", "m.npz", data_file, "--json", "t.json") == 0
    assert "Left out 20 frames" in capsys.readouterr().err
    assert read_json(tmp_path / "t.json")["n_test"] == 60


def test_test_leaves_out_what_the_model_was_made_with(run, model_file, data_file, tmp_path, capsys):
    assert run("test", model_file, data_file, "--json", "t.json") == 0
    figures = read_json(tmp_path / "t.json")
    assert figures["n_test"] == 50
    assert figures["n_left_out"] == 30
    assert "Left out 20 frames" in capsys.readouterr().err
    assert run("test", model_file, data_file, "--all-frames", "--json", "a.json") == 0
    everything = read_json(tmp_path / "a.json")
    assert everything["n_test"] == 80
    assert everything["force_mae"] < figures["force_mae"]
    assert run("test", model_file, data_file, "--n-test", 7, "--json", "s.json") == 0
    assert read_json(tmp_path / "s.json")["n_test"] == 7


def test_predict_writes_what_the_model_says(run, model_file, few_frames, tmp_path):
    atoms = [
        ase.Atoms(numbers=few_frames.atomic_numbers, positions=p) for p in few_frames.positions[:5]
    ]
    ase.io.write(tmp_path / "g.xyz", atoms)
    assert run("predict", model_file, "g.xyz", "-o", "p.xyz", "--json", "p.json") == 0
    frames = ase.io.read(tmp_path / "p.xyz", ":")
    expected = kraft.load(model_file).predict(np.array([a.positions for a in frames]))
    np.testing.assert_allclose(
        [a.get_potential_energy() for a in frames], expected.energies, rtol=1e-12
    )
    np.testing.assert_allclose(
        [a.get_forces() for a in frames], expected.forces, rtol=0, atol=1e-10
    )
    assert read_json(tmp_path / "p.json")["n_geometries"] == 5
    assert run("predict", model_file, "g.xyz", "-o", "p.xyz") == 1


def test_single_precision_says_how_exact_it_is(run, model_file, data_file, tmp_path, capsys):
    for name, dtype in (("a", "float64"), ("b", "float32")):
        assert run("predict", model_file, data_file, "-o", f"{name}.npz", "--dtype", dtype) == 0
    remark = next(line for line in capsys.readouterr().err.splitlines() if "float32" in line)
    stated = float(re.search(r"([0-9.e-]+) kcal/mol/Å", remark)[1])  # type: ignore[index]
    a, b = (kraft.read(tmp_path / f"{name}.npz") for name in "ab")
    gap = np.abs(a.forces - b.forces).max() / kraft.Units("kcal/mol").force_factor
    assert 0.05 * gap < stated < 1.01 * gap


def test_estimate_of_an_atomized_force_field(run, data_file, tmp_path, capsys):
    words = ["estimate", data_file, "--n-train", 500, "--model", "aff", "--json", "e.json"]
    assert run(*words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "atoms 6 7 8 4500 labels" in shown and "side by side" in shown
    figures = read_json(tmp_path / "e.json")
    assert [row["labels"] for row in figures["sets"]] == [1500, 1500, 1500, 1500, 3000, 4500]
    assert figures["seconds"] > 0 and figures["fits"]
    assert run(*words, "--rank", 100) == 1
    assert "--rank does not apply to --model aff" in " ".join(capsys.readouterr().err.split())


def test_estimate(run, data_file, tmp_path, capsys):
    code = run("estimate", data_file, "--n-train", 1000, "--kernel", "matern52", "--json", "e.json")
    assert code == 0
    figures = read_json(tmp_path / "e.json")
    assert figures["n_labels"] == 21000
    assert figures["n_symmetries"] == 6
    assert figures["dense"]["memory"] > 21000**2 / 2 * 8 > figures["iterative"]["memory"]
    assert figures["memory"] == figures[figures["solver"]]["memory"]
    assert figures["iterative"]["iterations"] > 0
    assert figures["seconds"] > 0
    shown = capsys.readouterr().out
    assert "GiB" in shown and "by factorization" in shown and "(symmetry" in shown


def test_threads_are_set(run, model_file, data_file, monkeypatch):
    seen = []
    monkeypatch.setattr("torch.set_num_threads", seen.append)
    with threadpool_limits(2, user_api="blas"):  # puts back at its end what was before
        assert run("test", model_file, data_file, "--threads", 1) == 0
        libraries = threadpool_info()
    assert seen == [1]
    blas = [library["num_threads"] for library in libraries if library["user_api"] == "blas"]
    assert blas
    assert set(blas) == {1}


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"], []])
def test_help_and_version(run, words, capsys):
    assert run(*words) == 0
    shown = capsys.readouterr().out
    assert "kraft" in shown or kraft.__version__ in shown
