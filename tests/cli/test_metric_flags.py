"""Learned weights of features from the command line."""

import json

import numpy as np
import pytest

import kraft


@pytest.fixture
def learned(data_file, run, capsys):
    """Train on a few frames with everything but the weights given."""

    def call(*more):
        fixed = ["--kernel", "matern52", "--length-scale", "20", "--regularization", "1e-8"]
        flags = ["--n-train", "6", "--n-test", "5", *fixed, "--metric", "learned", "--json", "f"]
        code = run("train", data_file, *flags, "-o", "m.safetensors", *more)
        return code, capsys.readouterr()

    return call


def test_weights_are_learned_told_and_kept(learned, run, capsys, tmp_path):
    code, shown = learned()
    assert code == 0
    assert "17 weights and 179 mixing entries learned by likelihood on 6" in shown.out
    assert "not compared with equal weights" in " ".join((shown.out + shown.err).split())
    figures = json.loads((tmp_path / "f").read_text())["metric"]
    model = kraft.load(tmp_path / "m.safetensors")
    assert figures["used"] and figures["objective"][-1] < figures["objective"][0]
    assert run("info", "m.safetensors", "--json", "i") == 0
    facts = capsys.readouterr().out
    told = ("largest effective weights", "smallest effective weights", "strongest couplings")
    assert all(name in facts for name in told)
    for shown in (figures, json.loads((tmp_path / "i").read_text())):
        for name in ("feature_weights", "feature_mixing"):
            np.testing.assert_array_equal(shown[name], getattr(model.parameters, name))


def test_atomized_models_have_none(data_file, run, capsys):
    flags = ["--n-train", "6", "--model", "aff", "--metric", "learned"]
    assert run("train", data_file, *flags, "-o", "m.safetensors") != 0
    assert "--metric does not apply" in " ".join(capsys.readouterr().err.split())
