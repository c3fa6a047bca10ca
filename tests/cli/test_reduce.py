"""``kraft reduce``: what it writes, and what it says to input that does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import kraft
from kraft.symmetry.orbits import feature_orbits

FIXED = ("--length-scale", "20", "--regularization", "1e-10")


def test_a_reduced_model_is_written_and_used_like_any_other(
    run, model_file: Path, data_file: Path, tmp_path: Path, capsys
) -> None:
    command = ["reduce", model_file, data_file, "--keep", "0.8", "-o", "small.safetensors"]
    more = ["--n-frames", "3", *FIXED, "--json", "out.json", "--plot", "importance.png"]
    assert run(*command, *more) == 0
    said = capsys.readouterr().out
    assert "of 36 pairs of atoms" in said and "Errors of the reduced model" in said
    figures = json.loads((tmp_path / "out.json").read_text())
    model = kraft.load(tmp_path / "small.safetensors")
    features = model.parameters.features
    assert features is not None and figures["features"] == features.tolist()
    assert len(features) == figures["n_features"] < 36
    assert all(np.isin(o, features).all() for o in feature_orbits(model.permutations)
               if o[0] in features)  # fmt: skip
    whole = kraft.load(model_file)
    assert model.record.train_indices == whole.record.train_indices
    assert model.parameters.kernel == whole.parameters.kernel
    assert figures["before"]["n_features"] == 36 and figures["speed_up"] > 0.0
    assert len(figures["importance"]["force_changes"]) == 36
    assert figures["stability"] is None
    assert (tmp_path / "importance.png").stat().st_size > 5000
    assert run("test", "small.safetensors", data_file) == 0


def test_a_scan_shows_the_curve_and_takes_the_smallest_accurate(
    run, model_file: Path, data_file: Path, tmp_path: Path, capsys
) -> None:
    command = ["reduce", model_file, data_file, "--scan", "--sizes", "1", "0.8", "0.3", *FIXED]
    more = ["--n-frames", "3", "--json", "out.json", "--plot", "curve.png"]
    assert run(*command, *more, "-o", "small.safetensors") == 0
    assert "taken" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out.json").read_text())
    points = figures["points"]
    assert [p["n_features"] for p in points] == sorted(
        (p["n_features"] for p in points), reverse=True
    )
    errors = [p["valid"]["force_mae"] for p in points]
    good = [p for p, e in zip(points, errors, strict=True) if e <= 1.01 * min(errors)]
    assert figures["n_features"] == good[-1]["n_features"]
    assert points[0]["n_features"] == 36
    assert (tmp_path / "curve.png").stat().st_size > 5000


def test_other_frames_can_be_trained_on(
    run, model_file: Path, data_file: Path, tmp_path: Path
) -> None:
    command = ["reduce", model_file, data_file, "--percentile", "15", "-o", "small.safetensors"]
    assert run(*command, "--n-frames", "2", "--n-train", "30", "--n-valid", "8", *FIXED) == 0
    assert kraft.load(tmp_path / "small.safetensors").parameters.n_train == 30


def test_what_does_not_fit_is_said(
    run, model_file: Path, data_file: Path, few_frames, tmp_path: Path, capsys
) -> None:
    def refused(*arguments: str | Path) -> str:
        assert run("reduce", model_file, *arguments) == 1
        return " ".join(capsys.readouterr().err.split())

    assert "--keep 0.4 keeps" in refused(data_file, "-o", "a.safetensors")
    both = refused(data_file, "--keep", "0.5", "--scan", "-o", "a.safetensors")
    assert "got --keep and --scan" in both
    assert "Expected --output" in refused(data_file, "--keep", "0.5")
    assert ".safetensors" in refused(data_file, "--keep", "0.5", "-o", "a.npz")
    few = refused(data_file, "--keep", "0.5", "-o", "a.safetensors", "--n-frames", "70")
    assert "Expected at least 71 frames" in few
    none = refused(data_file, "--keep", "0", "-o", "a.safetensors", "--n-frames", "1")
    assert "share above 0" in none
    kraft.write(few_frames.subset(np.arange(40)), tmp_path / "other.npz")
    other = refused("other.npz", "--keep", "0.5", "-o", "a.safetensors")
    assert "--n-train" in other
    assert not (tmp_path / "a.safetensors").exists()


def test_the_stability_is_checked(
    run, model_file: Path, data_file: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    class Found:
        stable, summary, failure_rate = False, "Not stable: two atoms met.", 7.0

    asked = {}

    def check_stability(force_field, **options):
        asked.update(options, features=force_field.parameters.features)
        return Found()

    monkeypatch.setattr("kraft.cli.reduce.check_stability", check_stability)
    command = ["reduce", model_file, data_file, "--keep", "0.8", "-o", "small.safetensors", *FIXED]
    more = ["--n-frames", "2", "--check-stability", "--temperature", "450", "--json", "out.json"]
    assert run(*command, *more) == 0
    assert asked["temperature"] == 450.0 and asked["features"] is not None
    assert "two atoms met. Keep more features" in " ".join(capsys.readouterr().err.split())
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["stability"]["stable"] is False


def test_atomized_models_are_refused(run, data_file: Path, tmp_path: Path, capsys) -> None:
    aff = ["train", data_file, "--model", "aff", "--n-train", "10", "--length-scale", "10"]
    assert run(*aff, "--regularization", "1e-6", "-o", "aff.safetensors") == 0
    capsys.readouterr()
    command = ["reduce", "aff.safetensors", data_file, "--keep", "0.5", "-o", "a.safetensors"]
    assert run(*command) == 1
    assert "Train an sGDML model" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("option", ["--kernel", "--length-scale"])
def test_malformed_hyper_parameters_are_found_before_anything_is_read(run, capsys, option) -> None:
    value = "cubic" if option == "--kernel" else "-3"
    command = ["reduce", "none.safetensors", "none.npz", "--keep", "0.5", "-o", "a.safetensors"]
    assert run(*command, option, value) == 1
    assert "none.safetensors" not in capsys.readouterr().err
