from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kraft.core.errors import DataError, OptionError
from kraft.data import Dataset, Split, read, split
from kraft.data.sampling import Strategy, farthest_sample, stratified_sample

STRATEGIES = get_args(Strategy)


def parts(found: Split) -> list[np.ndarray]:
    datasets = [found.train, found.valid, found.test]
    return [d.provenance.indices for d in datasets if d is not None]  # type: ignore[misc]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_parts_are_disjoint_and_reproducible(springs: Dataset, strategy: Strategy) -> None:
    first = split(springs, n_train=50, n_valid=30, n_test=40, seed=3, strategy=strategy)
    again = split(springs, n_train=50, n_valid=30, n_test=40, seed=3, strategy=strategy)
    other = split(springs, n_train=50, n_valid=30, n_test=40, seed=4, strategy=strategy)
    assert [len(part) for part in parts(first)] == [50, 30, 40]
    assert len(np.unique(np.concatenate(parts(first)))) == 120
    for one, two in zip(parts(first), parts(again), strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(parts(first)[0], parts(other)[0])
    assert first.train.source_fingerprint == springs.fingerprint
    lone = split(springs, n_train=50, seed=3, strategy=strategy)
    assert np.array_equal(parts(lone)[0], parts(first)[0])
    assert lone.valid is None
    assert lone.test is None


def test_the_rest_can_be_the_test_set(springs: Dataset) -> None:
    found = split(springs, n_train=50, n_valid=30, n_test=None)
    assert np.array_equal(np.sort(np.concatenate(parts(found))), np.arange(200))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_copies_never_land_in_two_parts(springs: Dataset, strategy: Strategy) -> None:
    twice = np.concatenate([np.arange(100), np.arange(100)])
    doubled = replace(
        springs.subset(np.arange(200)),
        positions=springs.positions[twice],
        forces=springs.forces[twice],
        energies=None if springs.energies is None else springs.energies[twice],
    )
    found = split(doubled, n_train=40, n_valid=30, n_test=30, strategy=strategy)
    drawn = np.concatenate(parts(found)) % 100
    assert len(np.unique(drawn)) == 100
    assert "100 of 200 frames are copies" in found.notices[0]
    with pytest.raises(DataError, match=r"Asked for 101 .* 100 different frames \(100 more"):
        split(doubled, n_train=41, n_valid=30, n_test=30, strategy=strategy)


def test_too_many_frames_are_refused(springs: Dataset) -> None:
    with pytest.raises(DataError, match=r"180 training \+ 20 validation \+ 1 test.*at most 200"):
        split(springs, n_train=180, n_valid=20, n_test=1)
    for sizes in ({"n_train": 0}, {"n_train": 5, "n_valid": -1}, {"n_train": 5, "n_test": -1}):
        with pytest.raises(OptionError, match="Expected"):
            split(springs, **sizes)
    with pytest.raises(OptionError, match="stratified, random, farthest"):
        split(springs, n_train=5, strategy="best")  # type: ignore[arg-type]


def test_without_energies_frames_are_drawn_at_random(springs: Dataset) -> None:
    bare = replace(springs, energies=None)
    found = split(bare, n_train=50, n_test=20)
    assert found.strategy == "random"
    assert "no energies" in found.notices[0]
    assert split(bare, n_train=5, n_test=5, strategy="farthest").strategy == "farthest"


def test_stratified_keeps_the_distribution() -> None:
    rng = np.random.default_rng(0)
    values = rng.gamma(3.0, size=5000)
    errors = {"stratified": [], "random": []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        drawn = values[stratified_sample(values, 200, rng)]
        errors["stratified"].append(drawn.mean() - values.mean())
        errors["random"].append(rng.choice(values, 200, replace=False).mean() - values.mean())
    scatter = {name: np.std(found) for name, found in errors.items()}
    assert scatter["stratified"] < 0.5 * scatter["random"]


def test_stratified_represents_the_rare_ends() -> None:
    values = np.concatenate([np.linspace(0, 1, 990), [5.0, 5.1]])
    for seed in range(10):
        drawn = values[stratified_sample(values, 50, np.random.default_rng(seed))]
        assert drawn.max() >= 5.0


@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)),
    st.data(),
)
def test_stratified_draws_n_different(values: np.ndarray, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, len(values)))
    drawn = stratified_sample(values, n, np.random.default_rng(0)) if n else np.array([], int)
    assert len(np.unique(drawn)) == n
    with pytest.raises(DataError, match="Ask for fewer"):
        stratified_sample(values, len(values) + 1, np.random.default_rng(0))


def test_farthest_is_greedy() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 3))
    drawn = farthest_sample(points, 12, np.random.default_rng(1))
    for step in range(1, 12):
        gaps = np.linalg.norm(points[:, None] - points[drawn[:step]], axis=2).min(axis=1)
        assert gaps[drawn[step]] == pytest.approx(gaps.max(), abs=1e-9)


def test_farthest_takes_equal_points_last() -> None:
    points = np.zeros((5, 2))
    assert sorted(farthest_sample(points, 5, np.random.default_rng(0))) == [0, 1, 2, 3, 4]


def test_farthest_reports_progress(spring_maker: Callable[..., Dataset]) -> None:
    seen: list[tuple[str, int, int]] = []
    dataset = spring_maker(20)
    split(dataset, n_train=4, strategy="farthest", progress=lambda *step: seen.append(step))
    assert seen[-1] == ("choose frames", 4, 4)


def test_ethanol(reference_data: Path) -> None:
    dataset = read(reference_data / "data" / "ethanol_ccsd_t_train.npz")
    found = split(dataset, n_train=200, n_valid=200, n_test=None)
    assert found.test is not None
    assert len(found.test) == 598  # two copies left out
    assert dataset.energies is not None
    assert found.train.energies is not None
    assert abs(found.train.energies.mean() - dataset.energies.mean()) < 0.005
