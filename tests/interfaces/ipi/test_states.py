"""Inputs and saved states, without i-PI."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from molecules import WATER
from toy_models import toy_force_field

from kraft.core.errors import GeometryError, OptionError
from kraft.interfaces.ipi.folder import DriverOptions, check_identity, identity, prepare
from kraft.interfaces.ipi.input_file import PathIntegral, start_text
from kraft.interfaces.ipi.states import SavedState, prune_checkpoints, rewind

STATE = """<simulation>
  <step>{step}</step> <total_steps>9</total_steps>
  <ffdirect><parameters>{{first: 0}}</parameters></ffdirect>
</simulation>"""


@pytest.fixture
def killed(tmp_path):
    """A folder with checkpoints at 2 and 4 and outputs, every 2 steps, until 6."""
    for number, step in enumerate((2, 4)):
        (tmp_path / f"simulation.checkpoint_{number}").write_text(STATE.format(step=step))
    steps = range(0, 7, 2)
    head = "# column   1     --> step : The current step.\n"
    rows = [f"  {step:.16e}  1.0\n" for step in steps]
    (tmp_path / "simulation.out").write_text(head + "".join(rows))
    frames = [f"1\n# CELL: 1 Step:  {step}  Bead: 0\nH 0 0 {step}\n" for step in steps]
    (tmp_path / "simulation.pos_0.xyz").write_text("".join(frames))
    extras = [f" #EXTRAS(novelty)# Step:  {step} \n 1.0\n" for step in steps]
    (tmp_path / "simulation.extras").write_text("".join(extras))
    alarms = [
        f'1\nlength_unit=Ang step={step} bead=0 alarm="novelty" sound={sound}\nH 0 0 {step}\n'
        for step in steps
        for sound in "TF"
    ]
    (tmp_path / "alarms.xyz").write_text("".join(alarms))
    return tmp_path


def alarm_steps(folder):
    lines = (folder / "alarms.xyz").read_text().splitlines()
    assert lines[::3] == ["1"] * (len(lines) // 3)
    return [int(line.split()[-1]) for line in lines[2::3]]


def ends(folder):
    names = ("simulation.out", "simulation.pos_0.xyz", "simulation.extras")
    return [(folder / name).read_text().splitlines()[-1].split()[-1] for name in names]


def test_outputs_are_cut_to_the_newest_state(killed):
    state = rewind(killed, 2)
    assert state.step == 4
    assert (killed / "simulation.pos_0.xyz").read_text().endswith("H 0 0 4\n")
    assert (killed / "simulation.out").read_text().count("\n") == 4
    assert (killed / "simulation.extras").read_text().count("#EXTRAS") == 3
    assert alarm_steps(killed) == [0, 0, 2, 2, 4, 4]


def test_alarms_are_cut_to_the_state(killed):
    path = killed / "alarms.xyz"
    whole = path.read_text()
    path.write_text(whole[: whole.index("H 0 0 4") + 4])  # torn by a kill
    assert rewind(killed, 2).step == 4
    assert alarm_steps(killed) == [0, 0, 2, 2]
    for number in (0, 1):
        (killed / f"simulation.checkpoint_{number}").unlink()
    assert rewind(killed, 2) is None  # from the beginning, which the first alarms are of
    assert alarm_steps(killed) == [0, 0]
    path.write_text(whole[whole.index("1\nlength_unit=Ang step=2") :])
    assert rewind(killed, 2) is None
    assert not path.exists()


def test_an_unfinished_checkpoint_does_not_count(killed):
    path = killed / "simulation.checkpoint_1"
    path.write_text(path.read_text()[:50])
    assert rewind(killed, 2).step == 2


def test_outputs_that_are_behind_send_it_further_back(killed):
    path = killed / "simulation.pos_0.xyz"
    whole = path.read_text()
    path.write_text(whole[: whole.index("H 0 0 4") + 4])  # the frame of step 4 is torn
    assert rewind(killed, 2).step == 2
    assert path.read_text().endswith("H 0 0 2\n")
    assert not (killed / "simulation.checkpoint_1").exists()


def test_lost_outputs_are_an_error(killed):
    (killed / "simulation.out").write_text("")
    with pytest.raises(OptionError, match=r"simulation\.out.*Start anew"):
        rewind(killed, 2)


def test_the_input_goes_on_from_a_state(killed):
    path = killed / "resume.xml"
    rewind(killed, 2).write_input(path, 20, "{first: 4}")
    root = ElementTree.parse(path).getroot()
    assert int(root.findtext("total_steps")) == 20
    assert root.findtext("ffdirect/parameters") == "{first: 4}"
    assert SavedState.read(path).step == 4


def test_old_checkpoints_are_removed(tmp_path):
    for number in (0, 8, 9, 10, 11):
        (tmp_path / f"simulation.checkpoint_{number}").touch()
    prune_checkpoints(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {
        ".checkpoint_9",
        ".checkpoint_10",
        ".checkpoint_11",
    }


@pytest.mark.parametrize(
    "options",
    [
        {"n_steps": 0},
        {"n_beads": 0},
        {"temperature": -1.0},
        {"timestep": float("nan")},
        {"thermostat": "warm"},
        {"splitting": "abba"},
        {"checkpoint_interval": 30},
        {"seed": -1},
    ],
)
def test_settings_out_of_range(options):
    with pytest.raises(OptionError, match=r"Expected|Unknown"):
        PathIntegral(**{"n_steps": 10, **options})


def test_a_folder_is_not_overwritten_unasked(tmp_path):
    force_field, run = toy_force_field(WATER), PathIntegral(10)
    path = prepare(force_field, WATER.positions, tmp_path / "run", run)
    root = ElementTree.parse(path).getroot()
    assert root.find("system/initialize").get("nbeads") == "16"
    assert int(root.findtext("ffdirect/batch_size")) == 16
    with pytest.raises(OptionError, match="holds a simulation already"):
        prepare(force_field, WATER.positions, tmp_path / "run", run)
    prepare(force_field, WATER.positions, tmp_path / "run", PathIntegral(20), overwrite=True)


def test_another_simulation_is_not_gone_on_with(tmp_path):
    force_field, run, driver = toy_force_field(WATER), PathIntegral(10), DriverOptions()
    prepare(force_field, WATER.positions, tmp_path, run, driver)
    text = (tmp_path / "start.xyz").read_text()
    check_identity(tmp_path, identity(force_field, text, PathIntegral(99), driver))
    for changed in (PathIntegral(10, temperature=310.0), PathIntegral(10, n_beads=8)):
        with pytest.raises(OptionError, match=r"(temperature|n_beads) differs"):
            check_identity(tmp_path, identity(force_field, text, changed, driver))
    with pytest.raises(OptionError, match="model differs"):
        other = toy_force_field(WATER, seed=1)
        check_identity(tmp_path, identity(other, text, run, driver))


def test_starts_that_do_not_fit(tmp_path):
    with pytest.raises(GeometryError, match=r"shape \(3, 3\)"):
        prepare(toy_force_field(WATER), np.zeros((4, 3)), tmp_path / "run", PathIntegral(10))
    with pytest.raises(GeometryError, match="first vector along x"):
        start_text(WATER.atomic_numbers, WATER.positions, np.roll(8.0 * np.eye(3), 1, axis=0))
