"""The loop of benchmarks over their rows: which are measured, what is kept, what a failure does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import reporting
from peers.environment import PeerError
from rows import SkippedRowError, measure_rows, page_file, row_arguments

ROWS = ("one", "two", "three")


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Leave the machine and the peer's environment, which this would make, out of the pages."""
    monkeypatch.setattr(reporting, "environment", lambda _: ["m", "v", "p", "today"])


def parsed(output: Path, *given: str):
    parser = row_arguments("Measure rows.", "rows", ROWS, ROWS[:2])
    return parser.parse_args(["--output", str(output), *given])


def run(output: Path, *given: str, failing: dict[str, Exception] | None = None) -> list[str]:
    """Run a benchmark whose figure is the number of rows known before; return what it measured."""
    options, measured = parsed(output, *given), []

    def figures(name, page):
        measured.append(name)
        if failing and name in failing:
            raise failing[name]
        return {"known": len(page.rows)}

    measure_rows(options, options.row, figures, render)
    return measured


def render(rows):
    return "".join(f"{name}: {row['known']}\n" for name, row in rows.items())


def kept(output: Path) -> dict[str, int]:
    rows = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    return {name: row["known"] for name, row in rows.items()}


def test_rows_by_default_named_and_missing(tmp_path):
    output = tmp_path / "rows.md"
    assert run(output) == ["one", "two"]
    assert run(output, "--missing", "--row", *ROWS) == ["three"]
    assert kept(output) == {"one": 0, "two": 1, "three": 2}
    assert output.read_text(encoding="utf-8").startswith("one: 0\ntwo: 1\nthree: 2\n")
    assert run(output, "--row", "one") == ["one"]
    assert kept(output)["one"] == 3


def test_render_writes_the_page_of_what_is_kept_and_measures_nothing(tmp_path):
    output = tmp_path / "rows.md"
    run(output)
    page = output.read_bytes()
    output.unlink()
    assert run(output, "--render") == []
    assert output.read_bytes() == page


def test_list_names_the_rows(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        parsed(tmp_path / "rows.md", "--list")
    assert end.value.code == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_unknown_row_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        parsed(tmp_path / "rows.md", "--row", "four")
    assert end.value.code == 2
    assert "invalid choice: 'four'" in capsys.readouterr().err


@pytest.mark.parametrize("error", [PeerError("it ended with 1"), FileNotFoundError("no data")])
def test_the_others_are_measured_when_a_row_fails(tmp_path, capsys, error):
    output = tmp_path / "rows.md"
    with pytest.raises(SystemExit) as end:
        run(output, failing={"one": error})
    assert end.value.code == 1
    assert kept(output) == {"two": 0}
    assert f"one: failed\n{error}" in capsys.readouterr().err


def test_a_row_that_cannot_be_measured_here_is_no_failure(tmp_path, capsys):
    output = tmp_path / "rows.md"
    run(output)
    run(output, failing={"one": SkippedRowError("there is no peer")})
    assert kept(output) == {"one": 0, "two": 2}
    assert "one: skipped, there is no peer" in capsys.readouterr().err


def test_other_errors_are_not_hidden(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "rows.md", failing={"one": ZeroDivisionError()})


def test_rows_that_another_run_measured_meanwhile_stay(tmp_path):
    output = tmp_path / "rows.md"
    options = parsed(output, "--row", "one")

    def figures(name, page):
        run(output, "--row", "three")
        return {"known": 10}

    measure_rows(options, options.row, figures, render)
    assert kept(output) == {"three": 0, "one": 10}


def test_a_quick_run_prints_one_page_and_keeps_nothing(tmp_path, capsys):
    output = tmp_path / "rows.md"
    run(output)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert run(output, "--quick", "--row", "two", "three") == ["two", "three"]
    assert capsys.readouterr().out.startswith("two: 0\nthree: 1\n")  # knows only its own rows
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_plots_of_a_quick_run_go_to_a_folder_that_is_taken_away(tmp_path):
    output = tmp_path / "rows.md"
    with page_file(parsed(output)) as path:
        assert path == output
    with page_file(parsed(output, "--quick")) as path:
        assert path.name == "rows.md"
        assert path.parent.is_dir() and path.parent != tmp_path
    assert not path.parent.exists()
