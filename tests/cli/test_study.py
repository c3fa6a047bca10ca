from __future__ import annotations

import csv
import json

import pytest

from kraft.analysis.preconditioner_study.study import Study
from kraft.cli.study import METHODS, StudyOptions, parse_rank
from kraft.solvers.preconditioners import METHODS as KNOWN

SMALL = ("--n-train", "12", "--permutations", "none", "--regularization", "1e-6")
FEW = ("--methods", "uniform", "none", "--ranks", "30", "20%")


def study(run, data_file, *more):
    return run("study", data_file, *SMALL, *FEW, "--spectra", "--json", "out.json", *more)


def test_tables_figures_and_rules(run, data_file, tmp_path, capsys):
    assert study(run, data_file) == 0
    shown = capsys.readouterr().out
    for text in ("n = 324", "252, without rigid motions", "uniform + blocks", "k = 30", "k = 65"):
        assert text in shown
    folder = tmp_path / "kraft-study"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "measurements.jsonl", "iterations.csv", "iterations.png", "times.png", "spectra.csv",
        "spectra.png", "study.md",
    }  # fmt: skip
    figures = json.loads((tmp_path / "out.json").read_text())
    assert (figures["n_labels"], figures["n_unknowns"]) == (324, 252)
    counts = {(c["method"], c["remainder"], c["rank"]): c for c in figures["iterations"]}
    assert set(counts) == {
        ("none", "", 0),
        *(("uniform", remainder, k) for remainder in ("shift", "blocks") for k in (30, 65)),
    }
    assert all(count["status"] == "converged" for count in counts.values())
    assert (
        counts["uniform", "blocks", 65]["iterations"]
        < counts["uniform", "blocks", 30]["iterations"]
        < counts["none", "", 0]["iterations"]
    )
    assert figures["rules"]["uniform + blocks"]["m"] > 0.0
    assert figures["condition_numbers"]["none"] > figures["condition_numbers"]["uniform/blocks/65"]
    with (folder / "iterations.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["iterations"]) for row in rows] == [
        c["iterations"] for c in figures["iterations"]
    ]
    assert all(
        (folder / name).read_bytes().startswith(b"\x89PNG") for name in names if "png" in name
    )


def test_same_command_again_measures_nothing(run, data_file, monkeypatch, tmp_path):
    assert study(run, data_file) == 0
    before = (tmp_path / "kraft-study" / "measurements.jsonl").read_bytes()

    def refuse(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(Study, "_build", refuse)
    assert study(run, data_file) == 0
    assert (tmp_path / "kraft-study" / "measurements.jsonl").read_bytes() == before


def test_nothing_converged_is_said(run, data_file, capsys):
    assert run("study", data_file, *SMALL, *FEW, "--max-iterations", "2") == 0
    shown = capsys.readouterr().out
    assert "> 2" in shown
    assert "Nothing converged" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "unifrom"), "no preconditioner 'unifrom'"),
        (("--remainders", "block"), "no remainder 'block'"),
        (("--ranks", "many"), "number of columns or a percentage"),
        (("--ranks", "120%"), "number of columns or a percentage"),
        (("--tolerance", "2"), "tolerance between 0 and 1"),
        (("--methods", "svd", "--max-memory", "10KB"), "Take fewer geometries"),
    ],
)
def test_mistakes_are_named(run, data_file, capsys, arguments, message):
    assert run("study", data_file, *SMALL, *arguments) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_defaults_are_known_methods():
    assert set(METHODS) <= set(KNOWN)
    assert len(StudyOptions().candidates(1000)) == 3 * 4 * 2 + 1


@pytest.mark.parametrize(("text", "rank"), [("5%", 50), ("0.5%", 5), ("17", 17), ("0.01%", 1)])
def test_ranks(text, rank):
    assert parse_rank(text, 1000) == rank
