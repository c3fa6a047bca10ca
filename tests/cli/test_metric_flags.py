"""Learned weights of features from the command line."""

import json

import numpy as np
import pytest
from molecules import WATER
from toy_models import toy_parameters

import kraft
from kraft.cli.metric_flags import weight_facts


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
    assert "17 weights learned by likelihood on 6 frames" in shown.out
    assert "not compared with equal ones" in " ".join((shown.out + shown.err).split())
    figures = json.loads((tmp_path / "f").read_text())["metric"]
    model = kraft.load(tmp_path / "m.safetensors")
    assert figures["used"] and figures["objective"][-1] < figures["objective"][0]
    np.testing.assert_array_equal(figures["feature_weights"], model.parameters.feature_weights)
    assert run("info", "m.safetensors") == 0
    facts = capsys.readouterr().out
    assert "largest weights" in facts and "smallest weights" in facts


def test_atomized_models_have_none(data_file, run, capsys):
    flags = ["--n-train", "6", "--model", "aff", "--metric", "learned"]
    assert run("train", data_file, *flags, "-o", "m.safetensors") != 0
    assert "--metric does not apply" in " ".join(capsys.readouterr().err.split())


def test_weights_are_named_by_their_atoms():
    assert weight_facts(toy_parameters(WATER)) == [("feature weights", "equal")]
    unequal = toy_parameters(WATER, weighted=True)  # 1 for O-H, 0 for H-H
    assert weight_facts(unequal) == [
        ("largest weights", "O0-H1 1"),
        ("smallest weights", "H1-H2 0"),
    ]
