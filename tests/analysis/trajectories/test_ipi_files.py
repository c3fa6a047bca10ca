"""What other files of i-PI say about its trajectories."""

from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.trajectories.ipi_files import (
    in_electronvolt,
    in_femtoseconds,
    is_property_table,
    property_table_of,
    read_properties,
    time_step_of,
)
from kraft.core.errors import DataError

HEAD = """# column   1     --> step : The current simulation time step.
# column   2     --> time{{{time}}} : The elapsed simulation time.
# cols.    3-4   --> cell_h : The cell.
# column   5     --> potential{{{energy}}} : The physical system potential energy.
"""
INPUT = "<simulation><system><motion><dynamics>{}</dynamics></motion></system></simulation>"


def table(time="picosecond", energy="electronvolt", scale=1e-3):
    rows = [f"{step} {0.25 * step * scale!r} 9.0 9.0 {-1.5 - step}\n" for step in (0, 10, 20)]
    return HEAD.format(time=time, energy=energy) + "".join(rows)


@pytest.fixture
def trajectory(tmp_path):
    path = tmp_path / "data[1].pos_0.xyz"
    path.write_text("1\n\nH 0 0 0\n")
    return path


def test_columns_by_name_and_in_their_units(tmp_path):
    path = tmp_path / "simulation.out"
    path.write_text(table() + "30 0.0075 9.0 9.")  # being written
    columns = read_properties(path)
    assert is_property_table(path) and list(columns) == [
        "step",
        "time{picosecond}",
        "potential{electronvolt}",
    ]
    np.testing.assert_allclose(in_femtoseconds(columns), [0.0, 2.5, 5.0])
    np.testing.assert_allclose(in_electronvolt(columns, "potential"), [-1.5, -11.5, -21.5])
    assert in_electronvolt(columns, "conserved") is None
    path.write_text(table(energy="atomic_unit", time="atomic_unit", scale=1 / 0.02418884326586))
    columns = read_properties(path)
    np.testing.assert_allclose(in_electronvolt(columns, "potential")[0], -1.5 * 27.211386, 1e-6)
    np.testing.assert_allclose(in_femtoseconds(columns), [0.0, 2.5, 5.0], rtol=1e-6)
    path.write_text(table(energy="furlong"))
    with pytest.raises(DataError, match="furlong"):
        in_electronvolt(read_properties(path), "potential")


@pytest.mark.parametrize("text", ["", "hello\n", HEAD, table() + "1 2\n", table() + "a b c d e\n"])
def test_what_is_no_table(tmp_path, text):
    path = tmp_path / "simulation.out"
    path.write_text(text)
    with pytest.raises(DataError, match=r"no table|damaged"):
        read_properties(path)


def test_the_time_step_is_that_of_the_table(trajectory):
    assert time_step_of(trajectory) is None
    (trajectory.parent / "other.out").write_text(table(scale=2e-3))
    assert property_table_of(trajectory) is None
    named = trajectory.parent / "data[1].md"
    named.write_text(table())
    assert property_table_of(trajectory) == named
    found = time_step_of(trajectory)
    assert (found.fs, found.source) == (pytest.approx(0.25), "data[1].md")


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("<timestep units='femtosecond'> 0.5 </timestep>", 0.5),
        ("<timestep units='picosecond'>0.0005</timestep>", 0.5),
        ("<timestep> 20.6706866 </timestep>", 0.5),  # atomic units of time
        ("<timestep units='fortnight'> 1 </timestep>", None),
        ("<timestep> soon </timestep>", None),
        ("", None),
    ],
)
def test_else_that_of_the_input(trajectory, element, expected):
    (trajectory.parent / "input.xml").write_text(INPUT.format(element))
    (trajectory.parent / "broken.xml").write_text("<simulation>")
    (trajectory.parent / "list.xml").write_text("<shopping><timestep>7</timestep></shopping>")
    found = time_step_of(trajectory)
    assert (found and found.fs) == (pytest.approx(expected, rel=1e-6) if expected else None)
    if expected:
        other = INPUT.format("<timestep units='femtosecond'> 0.25 </timestep>")
        (trajectory.parent / "RESTART").write_text(other)
        assert time_step_of(trajectory) is None  # they disagree
