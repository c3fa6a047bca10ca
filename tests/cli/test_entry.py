"""The start of the process: what is imported, and interruptions before anything runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import kraft
from kraft.cli import entry

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
import kraft
from kraft.cli.entry import main
sys.argv = ["kraft", "--version"]
code = main()
print("went on")
sys.exit(code)
"""


def python(program: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, **options
    )


@posix
def test_an_interruption_while_importing_is_silent():
    done = python(INTERRUPTED_WHILE_IMPORTING)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@posix
def test_a_job_in_the_background_ignores_interruptions_as_its_shell_wants():
    done = python(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        + INTERRUPTED_WHILE_IMPORTING
    )
    assert done.returncode == 0
    assert done.stdout.endswith("went on\n")


@posix
def test_python_handles_interruptions_again_once_the_command_runs(monkeypatch):
    seen = []
    monkeypatch.setattr("kraft.cli.main.main", lambda: seen.append(signal.getsignal(signal.SIGINT)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        entry.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.default_int_handler]


def test_slow_libraries_are_imported_only_where_they_are_used():
    loaded = python(
        "import sys, kraft; print('torch' in sys.modules)\n"
        "import kraft.cli.main; print([n for n in ('matplotlib', 'ase.io', 'ase.db') "
        "if n in sys.modules])"
    )
    assert loaded.stdout.split("\n")[:2] == ["False", "[]"]


def test_public_names_are_there_although_imported_late():
    assert set(kraft.__all__) <= set(dir(kraft))
    for name in kraft.__all__:
        assert getattr(kraft, name) is not None
    assert kraft.load == kraft.ForceField.load
    with pytest.raises(AttributeError, match="no attribute 'forces'"):
        kraft.forces  # noqa: B018
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = python("from kraft import *; print(train.__module__)", env=environment)
    assert done.stdout == "kraft.models.training\n"
