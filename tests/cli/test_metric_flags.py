"""Learned weights of features from the command line."""

import json
from dataclasses import replace

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
    assert "17 weights and 179 mixing entries learned by likelihood on 6" in shown.out
    assert "not compared with equal weights" in " ".join((shown.out + shown.err).split())
    figures = json.loads((tmp_path / "f").read_text())["metric"]
    model = kraft.load(tmp_path / "m.safetensors")
    assert figures["used"] and figures["objective"][-1] < figures["objective"][0]
    assert run("info", "m.safetensors", "--json", "i") == 0
    facts = capsys.readouterr().out
    told = ("largest weights", "smallest weights", "strongest mixing")
    assert all(name in facts for name in told)
    for shown in (figures, json.loads((tmp_path / "i").read_text())):
        for name in ("feature_weights", "feature_mixing"):
            np.testing.assert_array_equal(shown[name], getattr(model.parameters, name))


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


@pytest.mark.parametrize(
    "bonds, to_hydrogens, told",
    [
        (0.1, -0.3, "O0-H1 with H1-H2 -0.3, O0-H1 with O0-H2 0.1"),
        (0.0, 0.25, "O0-H1 with H1-H2 0.25"),
        (0.0, 0.0, "none"),
    ],
)
def test_the_strongest_mixing_is_told(bonds, to_hydrogens, told):
    mixing = np.eye(3)
    mixing[0, 1] = mixing[1, 0] = bonds
    mixing[:2, 2] = mixing[2, :2] = to_hydrogens
    facts = weight_facts(replace(toy_parameters(WATER), feature_mixing=mixing))
    assert facts == [("feature weights", "equal"), ("strongest mixing", told)]
