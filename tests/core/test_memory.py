import os
from pathlib import Path

import pytest

import kraft.core.memory as module
from kraft.core.memory import available_memory, format_bytes


@pytest.mark.parametrize(
    "n_bytes, expected",
    [
        (0, "0.0 KiB"),
        (9.96 * 1024, "10 KiB"),
        (1023.4 * 1024, "1023 KiB"),
        (1023.6 * 1024, "1.0 MiB"),
        (1024**3, "1.0 GiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_amounts_are_told_in_units_that_fit(n_bytes, expected):
    assert format_bytes(n_bytes) == expected


def test_this_machine_has_some_but_not_more_than_its_memory():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < available_memory() <= total


def test_the_smaller_limit_counts(monkeypatch):
    monkeypatch.setattr(module, "_meminfo_available", lambda: 8 * 1024**3)
    monkeypatch.setattr(module, "_cgroup_available", lambda: 3 * 1024**3)
    assert available_memory("cpu") == 3 * 1024**3
    monkeypatch.setattr(module, "_cgroup_available", lambda: None)
    assert available_memory("cpu") == 8 * 1024**3


def test_without_a_figure_from_the_system_most_of_the_memory_is_assumed(monkeypatch):
    monkeypatch.setattr(module, "_meminfo_available", lambda: None)
    monkeypatch.setattr(module, "_cgroup_available", lambda: None)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available_memory() == int(0.8 * total)


@pytest.mark.parametrize("limit, expected", [("max", None), ("1000", 1000 - 700 + 250), ("100", 0)])
def test_files_that_are_only_cached_do_not_count_as_used(limit, expected, monkeypatch):
    content = {
        "memory.max": f"{limit}\n",
        "memory.current": "700\n",
        "memory.stat": "anon 400\ninactive_file 250\nactive_file 50\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda self, *_, **__: content[self.name])
    assert module._cgroup_available() == expected


def test_no_control_group(monkeypatch):
    def missing(self, *_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert module._cgroup_available() is None and module._meminfo_available() is None
