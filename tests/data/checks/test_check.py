from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kraft.core.errors import DataError
from kraft.core.typing import FloatArray
from kraft.data import Dataset, Units, read
from kraft.data.checks import Finding, Report, check

Labels = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def find(report: Report, code: str) -> Finding:
    found = [finding for finding in report.findings if finding.code == code]
    assert len(found) == 1, report.findings
    return found[0]


def changed(dataset: Dataset, field: str, index: Any, value: Any) -> Dataset:
    values = np.array(getattr(dataset, field))
    values[index] = value
    return replace(dataset, **{field: values})


def test_sound_data_pass(springs: Dataset) -> None:
    report = check(springs)
    assert report.codes == ("energy-force-agreement",)
    assert report.warnings == report.fatal == ()
    assert len(report.notes) == 1
    report.raise_if_fatal()


@pytest.mark.parametrize("field", ["positions", "forces", "energies"])
def test_values_that_are_not_finite(springs: Dataset, field: str) -> None:
    report = check(changed(springs, field, 7, np.nan))
    finding = find(report, "non-finite")
    assert finding.severity == "fatal"
    assert finding.frames == (7,)
    assert field in finding.message
    with pytest.raises(DataError, match=r"not finite .* frame 7\. Remove these frames"):
        report.raise_if_fatal()


def test_sizes(springs: Dataset) -> None:
    assert find(check(springs.subset([])), "no-frames").severity == "fatal"
    atom = Dataset([1], np.zeros((3, 1, 3)), np.zeros((3, 1, 3)))
    assert find(check(atom), "single-atom").severity == "fatal"


def test_coincident_atoms(springs: Dataset) -> None:
    finding = find(
        check(changed(springs, "positions", (5, 1), springs.positions[5, 3] + 0.01)),
        "coincident-atoms",
    )
    assert finding.severity == "fatal"
    assert finding.frames == (5,)
    assert "atoms 1 and 3" in finding.message


def test_one_and_two_frames_and_two_atoms(springs: Dataset) -> None:
    for n in (1, 2, 5):
        assert check(springs.subset(range(n))).codes == ("energy-force-unchecked",)
    rng = np.random.default_rng(0)
    lengths = 0.74 + 0.05 * rng.normal(size=100)
    positions = np.zeros((100, 2, 3))
    positions[:, 1, 2] = lengths
    forces = np.zeros((100, 2, 3))
    forces[:, 1, 2] = -20 * (lengths - 0.74)
    forces[:, 0, 2] = -forces[:, 1, 2]
    dimer = Dataset([1, 1], positions, forces, 10 * (lengths - 0.74) ** 2)
    assert check(dimer).codes == ("energy-force-agreement",)


def test_copies(springs: Dataset) -> None:
    twice = springs.subset([*range(100), 4, 9])
    finding = find(check(twice), "duplicate-frames")
    assert finding.severity == "warning"
    assert finding.frames == (100, 101)
    assert "Nothing needs doing" in finding.advice
    assert twice.energies is not None
    finding = find(
        check(changed(twice, "energies", 100, twice.energies[100] + 0.1)), "duplicate-frames"
    )
    assert "differ by up to 2.3 kcal/mol" in finding.message


def test_net_force_and_torque(springs: Dataset) -> None:
    pushed = find(
        check(replace(springs, forces=springs.forces + np.array([0.5, 0, 0]))), "net-force"
    )
    assert pushed.severity == "warning"
    assert "kcal/mol/Å" in pushed.message
    centered = springs.positions - springs.positions.mean(axis=1, keepdims=True)
    spun = replace(springs, forces=springs.forces + np.cross([0, 0, 0.5], centered))
    assert find(check(spun), "net-torque").severity == "warning"
    assert "net-force" not in check(spun).codes
    boxed = replace(spun, cell=30 * np.eye(3))
    assert "net-torque" not in check(boxed).codes


def test_forces_all_zero(springs: Dataset) -> None:
    assert "zero-forces" in check(replace(springs, forces=0 * springs.forces)).codes


def test_wrong_sign(springs: Dataset) -> None:
    finding = find(check(replace(springs, forces=-springs.forces)), "force-sign")
    assert finding.severity == "fatal"
    assert "(slope -0.99" in finding.message


@pytest.mark.parametrize(
    ("actual", "text"),
    [
        (Units("eV"), "forces are in eV/Å"),
        (Units("hartree", "bohr"), "forces are in hartree/bohr"),
        (Units("kcal/mol", "bohr"), "forces are in kcal/mol/bohr"),
        (Units("kJ/mol"), "forces are in kJ/mol/Å"),
    ],
)
def test_forces_in_another_unit(springs: Dataset, actual: Units, text: str) -> None:
    factor = springs.units.force_factor / actual.force_factor
    finding = find(check(replace(springs, forces=springs.forces * factor)), "force-unit")
    assert finding.severity == "fatal"
    assert text in finding.message
    flipped = find(check(replace(springs, forces=-springs.forces * factor)), "force-sign")
    assert text in flipped.message


def test_energies_in_another_unit_or_per_atom(springs: Dataset) -> None:
    assert springs.energies is not None
    energies = springs.energies * springs.units.energy_factor / Units("hartree").energy_factor
    found = find(check(replace(springs, energies=energies)), "force-unit")
    assert "energies are in hartree" in found.message
    found = find(check(replace(springs, energies=springs.energies / 4)), "force-unit")
    assert "per atom" in found.message


def test_unexplained_slope(springs: Dataset) -> None:
    found = find(check(replace(springs, forces=springs.forces / 3.0)), "energy-force-slope")
    assert found.severity == "warning"


def test_energies_of_other_frames(springs: Dataset) -> None:
    assert springs.energies is not None
    shuffled = np.random.default_rng(0).permutation(springs.energies)
    found = find(check(replace(springs, energies=shuffled)), "energy-force-unrelated")
    assert found.severity == "warning"


def test_without_energies(springs: Dataset) -> None:
    assert check(replace(springs, energies=None)).codes == ("no-energies",)


def test_positions_in_bohr(springs: Dataset) -> None:
    finding = find(check(replace(springs, positions=springs.positions / 0.529177)), "length-unit")
    assert "in bohr" in finding.message


def test_outliers(springs: Dataset) -> None:
    assert springs.energies is not None
    finding = find(
        check(changed(springs, "energies", 11, springs.energies[11] + 50)), "energy-outliers"
    )
    assert finding.frames == (11,)
    report = check(changed(springs, "forces", (12, 0), 500.0))
    assert find(report, "force-outliers").frames == (12,)


def test_a_long_tail_is_no_outlier(springs: Dataset) -> None:
    energies = np.random.default_rng(0).normal(size=200)
    energies[:30] = np.linspace(3, 25, 30)
    assert "energy-outliers" not in check(replace(springs, energies=energies)).codes


def test_periodic_frames_wrapped_into_the_cell(springs: Dataset, spring_labels: Labels) -> None:
    cell = np.array([[9.0, 0.0, 0.0], [1.0, 9.0, 0.0], [0.0, 1.0, 9.0]])
    one_pose = springs.subset([0]).positions + 0.03 * np.random.default_rng(0).normal(
        size=(200, 4, 3)
    )
    energies, forces = spring_labels(one_pose)
    shifted = one_pose + np.random.default_rng(1).uniform(0, 9, size=(200, 1, 3))
    wrapped = (shifted @ np.linalg.inv(cell) % 1.0) @ cell
    dataset = Dataset([8, 1, 1, 6], wrapped, forces, energies, cell)
    assert check(dataset).codes == ("energy-force-agreement",)


def test_no_false_alarm_on_reference_data(reference_data: Path) -> None:
    """Only copies are found in data that are known to be sound, and all wrong signs are."""
    files = sorted((reference_data / "data").glob("*.npz"))
    for path in [*files, reference_data / "models" / "water_dimer_dataset.npz"]:
        dataset = read(path)
        report = check(dataset)
        alarms = {finding.code for finding in (*report.fatal, *report.warnings)}
        assert alarms <= {"duplicate-frames"}, path.name
        if "catcher" not in path.name and "ala3" not in path.name:
            assert "force-sign" in check(replace(dataset, forces=-dataset.forces)).codes, path.name


def test_no_false_alarm_on_small_subsets(reference_data: Path) -> None:
    for name in ("aspirin_ccsd_train", "3bpa_300K", "alkane_C9", "md17_paracetamol_train1000"):
        dataset = read(reference_data / "data" / f"{name}.npz")
        for seed in range(5):
            rng = np.random.default_rng(seed)
            part = dataset.subset(rng.choice(len(dataset), 60, replace=False))
            codes = check(part).codes
            assert set(codes) <= {
                "energy-force-agreement",
                "energy-force-unchecked",
                "duplicate-frames",
            }, (name, seed)
