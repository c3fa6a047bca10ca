"""Whatever comes in: one message that helps, an exit code, no traceback, no half-written file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest

import kraft
from kraft.cli.main import main

FIXED = ["--kernel", "matern52", "--length-scale", "20", "--regularization", "1e-10"]


def archive(path, few_frames, **changes):
    arrays = {
        "type": "d", "name": "x", "theory": "t", "r_unit": "Ang", "e_unit": "eV",
        "z": few_frames.atomic_numbers, "R": few_frames.positions, "F": few_frames.forces,
        "E": few_frames.energies,
    }  # fmt: skip
    np.savez(path, **(arrays | changes))


def text_file(path, few_frames):
    path.write_text("these are no numbers\n")


def truncated(path, few_frames):
    archive(path, few_frames)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def pickled(path, few_frames):
    archive(path, few_frames, F=np.array([{"a": 1}], dtype=object))


def wrong_shapes(path, few_frames):
    archive(path, few_frames, F=few_frames.forces[:, :8])


def not_a_number(path, few_frames):
    positions = few_frames.positions.copy()
    positions[3, 2, 1] = np.nan
    archive(path, few_frames, R=positions)


def zero_frames(path, few_frames):
    nothing = few_frames.positions[:0]
    archive(path, few_frames, R=nothing, F=nothing, E=few_frames.energies[:0])


def coincident(path, few_frames):
    positions = few_frames.positions.copy()
    positions[5, 1] = positions[5, 0]
    archive(path, few_frames, R=positions)


def single_atom(path, few_frames):
    archive(path, few_frames, z=[2], R=few_frames.positions[:, :1], F=few_frames.forces[:, :1])


def equal_forces(path, few_frames):
    archive(path, few_frames, F=np.zeros_like(few_frames.forces))


def empty(path, few_frames):
    path.write_bytes(b"")


BAD_FILES = [
    (text_file, "looks like a text file"),
    (truncated, "truncated"),
    (pickled, "pickled"),
    (wrong_shapes, "shape"),
    (not_a_number, "frame 3"),
    (zero_frames, "no frames"),
    (coincident, "frame 5"),
    (single_atom, "at least 2"),
    (equal_forces, "All forces are equal"),
    (empty, "empty"),
]


@pytest.mark.parametrize(("make", "words"), BAD_FILES)
def test_bad_file(run, few_frames, tmp_path, capsys, make, words):
    make(tmp_path / "bad.npz", few_frames)
    assert run("train", "bad.npz", "--n-train", 10, *FIXED) == 1
    assert words in one_message(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npz"]


def one_message(capsys):
    """Return the message on standard error, which must be no traceback."""
    shown = capsys.readouterr().err
    assert shown.count("Error: ") == 1
    assert "Traceback" not in shown
    assert "did not foresee" not in shown
    return shown


def test_two_molecules(run, few_frames, tmp_path, capsys):
    kraft.write(few_frames.subset([0, 1]), tmp_path / "two.xyz")
    water = "3\nProperties=species:S:1:pos:R:3:forces:R:3 energy=0.0 energy_unit=eV\n"
    water += "O 0 0 0 0 0 0\nH 0 0 1 0 0 0\nH 0 1 0 0 0 0\n"
    with (tmp_path / "two.xyz").open("a") as handle:
        handle.write(water)
    assert run("train", "two.xyz", "--n-train", 2) == 1
    message = one_message(capsys)
    assert "frame 2 is H2O" in message


def test_more_frames_than_there_are(run, data_file, tmp_path, capsys):
    assert run("train", data_file, "--n-train", 60, "--n-valid", 30, *FIXED) == 1
    assert "80 different frames" in one_message(capsys)
    assert not list(tmp_path.iterdir())


def test_one_training_frame_cannot_choose_but_can_be_trained_on(run, data_file, capsys):
    assert run("train", data_file, "--n-train", 1) == 1
    assert "--n-valid" in one_message(capsys)
    assert run("train", data_file, "--n-train", 1, *FIXED) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--length-scale", "-1"], "positive"),
        (["--max-memory", "much"], "8GB"),
        (["--max-memory", "10KB", *FIXED], "memory"),
        (["--n-test", "-1"], "0 or more"),
        (["--units", "furlong"], "furlong"),
        (["--permutations", "nowhere"], "nowhere"),
        (["--energy-key", "Q"], "--energy-key"),
        (["--threads", "0"], "thread"),
        (["--device", "toaster"], "toaster"),
        (["-o", "model.npz"], ".safetensors"),
        (["-o", "."], "."),
        (["--test", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_bad_option(run, data_file, tmp_path, capsys, options, words):
    assert run("train", data_file, "--n-train", 10, *options) == 1
    assert words in one_message(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [["train"], ["frobnicate"], ["train", "x.npz"], ["train", "x.npz", "--n-train", "many"],
     ["train", "x.npz", "--n-train", "9", "--kernel", "cubic"], ["info", "a", "--nonsense"]],
)  # fmt: skip
def test_usage_errors_have_their_own_exit_code(run, words, capsys):
    assert run(*words) == 2
    shown = capsys.readouterr()
    assert "Error" in shown.err
    assert "Traceback" not in shown.err + shown.out


def test_model_of_another_molecule(run, model_file, tmp_path, capsys):
    ase.io.write(tmp_path / "w.xyz", ase.Atoms("H2O", positions=np.eye(3)))
    assert run("predict", model_file, "w.xyz", "-o", "p.xyz") == 1
    message = one_message(capsys)
    assert "C2H6O" in message
    assert "H2O" in message
    assert not (tmp_path / "p.xyz").exists()


def test_permuted_atoms_are_explained(run, model_file, few_frames, tmp_path, capsys):
    for name, order in (
        ("elements", [1, 2, 0, 3, 4, 5, 6, 7, 8]),
        ("like", [0, 1, 2, 6, 4, 5, 3, 7, 8]),
    ):
        atoms = ase.Atoms(numbers=few_frames.atomic_numbers, positions=few_frames.positions[0])[
            order
        ]
        ase.io.write(tmp_path / f"{name}.xyz", atoms)
        assert run("predict", model_file, f"{name}.xyz", "-o", "p.xyz") == 1
        assert "atoms = atoms[[" in one_message(capsys)
    assert run("predict", model_file, "like.xyz", "-o", "p.xyz", "--any-order") == 0


@pytest.mark.parametrize("command", ["test", "predict", "info"])
def test_no_model(run, data_file, tmp_path, capsys, command):
    rest = {"test": [data_file], "predict": [data_file, "-o", "p.xyz"], "info": []}[command]
    (tmp_path / "text.safetensors").write_text("no model")
    for name in ("text.safetensors", "missing.safetensors"):
        assert run(command, name, *rest) == 1
        assert name in one_message(capsys)
    if command != "info":
        assert run(command, data_file, *rest) == 1
        assert "not a model" in one_message(capsys)


def test_disk_is_full_while_the_model_is_written(run, data_file, tmp_path, capsys, monkeypatch):
    def refuse(self, *arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert run("train", data_file, "--n-train", 10, *FIXED) == 1
    message = one_message(capsys)
    assert "disk is full" in message
    assert "Nothing was written" in message
    assert not list(tmp_path.iterdir())


def test_disk_is_full_before_the_training(run, data_file, capsys, monkeypatch):
    monkeypatch.setattr("kraft.cli.outputs.shutil.disk_usage", lambda _: _Usage(free=1000))
    monkeypatch.setattr("kraft.cli.train.train_model", _never)
    assert run("train", data_file, "--n-train", 10, *FIXED) == 1
    assert "disk is full" in one_message(capsys)


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def _never(*arguments, **options):
    raise AssertionError("the training was started")


def test_a_folder_that_cannot_be_written_is_found_before_the_training(
    run, data_file, monkeypatch, capsys
):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("kraft.cli.outputs.tempfile.NamedTemporaryFile", refuse)
    monkeypatch.setattr("kraft.cli.train.train_model", _never)
    assert run("train", data_file, "--n-train", 10, *FIXED, "-o", "locked/m.safetensors") == 1
    message = one_message(capsys)
    assert "permission" in message.lower()
    assert "locked/m.safetensors" in message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory of this machine"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory of this machine"),
        (ZeroDivisionError("division by zero"), "defect of kraft"),
    ],
)
def test_errors_from_within(run, data_file, monkeypatch, capsys, error, words):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("kraft.cli.train.train_model", fail)
    assert run("train", data_file, "--n-train", 10) == 1
    assert words in capsys.readouterr().err
    with pytest.raises(type(error)):
        main(["train", str(data_file), "--n-train", "10", "--debug"])


def test_interrupted_in_process(run, data_file, monkeypatch, tmp_path, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("kraft.cli.train.train_model", interrupt)
    assert run("train", data_file, "--n-train", 10) == 130
    assert "Nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_control_c_in_a_training(tmp_path):
    data = Path(kraft.__file__).parent / "datasets" / "ethanol_gfn2.npz"
    words = ["train", str(data), "--n-train", "1500", "--n-test", "100", "-o", "m.safetensors"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kraft", *words],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("note: ")  # the checks are over
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted: Nothing was written." in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_test_file_of_another_molecule_is_found_before_the_training(
    run, data_file, tmp_path, monkeypatch, capsys
):
    kraft.write(kraft.Dataset([8, 1, 1], np.eye(3)[None], np.ones((1, 3, 3)), [0.0]), "w.npz")
    monkeypatch.setattr("kraft.cli.train.train_model", _never)
    assert run("train", data_file, "--n-train", 10, "--test", "w.npz") == 1
    assert "H2O" in one_message(capsys)
