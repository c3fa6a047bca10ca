import os
from pathlib import Path

import pytest

import kraft.core.memory as module
from kraft.core.memory import GIB, available_memory


def test_this_machine_has_some_but_not_more_than_its_memory():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < available_memory() <= total


def test_the_smaller_limit_counts(monkeypatch):
    monkeypatch.setattr(module, "_meminfo_available", lambda: 8 * GIB)
    monkeypatch.setattr(module, "_cgroup_available", lambda: 3 * GIB)
    assert available_memory("cpu") == 3 * GIB
    monkeypatch.setattr(module, "_cgroup_available", lambda: None)
    assert available_memory("cpu") == 8 * GIB


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
