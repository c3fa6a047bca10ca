from __future__ import annotations

import pytest

from kraft.analysis.preconditioner_study.log import MeasurementLog
from kraft.core.errors import DataError


def test_measurements_are_there_again(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    log = MeasurementLog(path)
    log.add("a/1", {"steps": 3, "residual": 0.5})
    log.add("b/1", {"steps": 4})
    log.add("a/1", {"steps": 5})
    again = MeasurementLog(path)
    assert len(again) == 2 and "a/1" in again and "c" not in again
    assert again["a/1"] == {"steps": 5} == log["a/1"]
    assert dict(again.items("b/")) == {"b/1": {"steps": 4}}


@pytest.mark.parametrize("kept", [5, 12, -1])
def test_line_that_a_crash_cut_is_measured_again(tmp_path, kept):
    path = tmp_path / "log.jsonl"
    log = MeasurementLog(path)
    for number in range(3):
        log.add(f"m{number}", {"steps": number})
    text = path.read_text()
    whole = "".join(text.splitlines(keepends=True)[:2])
    path.write_text(whole + text[len(whole) :][:kept])
    torn = MeasurementLog(path)
    assert len(torn) == (3 if kept == -1 else 2)  # without its newline a whole line is still whole
    torn.add("m2", {"steps": 7})
    again = MeasurementLog(path)
    assert [again[f"m{number}"]["steps"] for number in range(3)] == [0, 1, 7]


def test_two_writers_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "log.jsonl"
    one, other = MeasurementLog(path), MeasurementLog(path)
    for number in range(5):
        one.add(f"one{number}", {"steps": number})
        other.add(f"other{number}", {"steps": number})
    assert len(MeasurementLog(path)) == 10


def test_file_of_another_kind_is_an_error(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("molecule,steps\nethanol,3\nuracil,5\n")
    with pytest.raises(DataError, match="holds no measurements"):
        MeasurementLog(path)


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = MeasurementLog(None)
    log.add("a", {"steps": 1})
    assert log["a"] == {"steps": 1} and not list(tmp_path.iterdir())
