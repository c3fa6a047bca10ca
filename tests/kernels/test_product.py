"""Products that keep the radial factors, against the matrix-free reference."""

import numpy as np
import pytest
import torch
from kernel_cases import Case
from molecules import BENZENE, CHIRAL, TWO_ROTORS, WATER, every_other_orbit
from threadpoolctl import threadpool_limits

import kraft.kernels.columns as columns_module
import kraft.kernels.image_classes as classes_module
import kraft.kernels.motions as motions_module
import kraft.kernels.product as module
from kraft.kernels import KERNELS

MATERN = KERNELS["matern52"]


def make(molecule=WATER, count=9, *, energies=True, **options):
    return Case(MATERN, molecule, molecule.frames(count), energies=energies, **options).operator


def vectors(operator, count=2):
    return np.random.default_rng(5).normal(size=(operator.size, count))


def reference(operator, right):
    columns = [operator.matmul(torch.tensor(column)) for column in right.T]
    return torch.stack(columns, dim=1).numpy()


def agree(got, expected):
    return np.abs(got - expected).max() <= 1e-10 * np.abs(expected).max()


@pytest.fixture(params=[(1, 1), (2, 100), (5, 40)], ids=str)
def small_tiles(request, monkeypatch):
    rows, entries = request.param
    monkeypatch.setattr(module, "TILE_ROWS", rows)
    monkeypatch.setattr(module, "TILE_ELEMENTS", entries)
    monkeypatch.setattr(module, "MIN_COLUMNS", 2)
    monkeypatch.setattr(motions_module, "TILE_ELEMENTS", 20)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("max_memory", [None, 0, 3000], ids=["cached", "uncached", "partly"])
def test_tiles_and_threads_do_not_show(small_tiles, max_memory, threads):
    operator = make(mixes=threads > 1)
    right = vectors(operator)
    with threadpool_limits(threads):
        got = operator.product(max_memory=max_memory)(right)
    assert agree(got, reference(operator, right))


@pytest.mark.parametrize("costs", [(7.0, 2.6), (1e9, 0.0), (0.0, 0.0)], ids=str)
@pytest.mark.parametrize("molecule", [TWO_ROTORS, BENZENE, CHIRAL], ids=str)
@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
def test_classes_of_features_do_not_show(molecule, costs, energies, monkeypatch):
    monkeypatch.setattr(classes_module, "ACTION_COST", costs[0])
    monkeypatch.setattr(classes_module, "SUM_COST", costs[1])
    operator = make(molecule, 3, energies=energies)
    right = vectors(operator)
    for max_memory in (None, 0):
        product = operator.product(max_memory=max_memory)
        assert agree(product(right), reference(operator, right))
        assert agree(product(right[:, 0]), reference(operator, right)[:, 0])
    indices = np.arange(operator.size)[::3]
    matrix = operator.to_dense().numpy()
    assert agree(operator.columns(indices), matrix[indices])
    assert agree(operator.diagonal(), matrix.diagonal())


def test_memory_is_bounded_and_used(small_tiles):
    operator = make()
    everything = operator.product().memory
    assert everything >= 8 * 2 * 9**2  # second alone: S M² numbers
    kept = [operator.product(max_memory=bound).memory for bound in range(0, everything + 1, 500)]
    assert all(memory <= 500 * step for step, memory in enumerate(kept))
    assert kept[0] == 0 and kept == sorted(kept) and len(set(kept)) > 2
    assert operator.product(max_memory=everything).memory == everything


def test_kept_factors_are_not_computed_again(monkeypatch):
    product = make().product()
    monkeypatch.setattr(type(MATERN), "force_factors_", None)
    product(np.ones(9 * 4))


def test_zero_feature_weights():
    """A feature without weight has no gradient: its pair does not act at all."""
    operator = make(weights=(0.0, 1.0))
    right = vectors(operator)
    assert agree(operator.product()(right), reference(operator, right))
    assert agree(operator.columns(np.arange(operator.size)), operator.to_dense().numpy())


def test_periodic_cell():
    cell = np.array([[4.0, 0.2, 0.0], [0.0, 4.5, 0.1], [0.0, 0.0, 5.0]])
    operator = make(count=4, cell=cell)
    right = vectors(operator)
    assert agree(operator.product()(right), reference(operator, right))
    assert agree(operator.columns(np.arange(operator.size)), operator.to_dense().numpy())


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
@pytest.mark.parametrize("molecule", [TWO_ROTORS, BENZENE, CHIRAL], ids=str)
def test_reduced_descriptors(molecule, mixes, small_tiles):
    features = every_other_orbit(molecule)
    operator = make(molecule, 3, features=features, feature_function="log", mixes=mixes)
    right = vectors(operator)
    assert agree(operator.product()(right), reference(operator, right))
    matrix = operator.to_dense().numpy()
    assert agree(operator.columns(np.arange(operator.size)), matrix)
    assert agree(operator.diagonal(), matrix.diagonal())


@pytest.mark.parametrize("elements", [1, 300])
def test_tiles_of_columns_do_not_show(elements, monkeypatch):
    for name in ("JACOBIAN_ELEMENTS", "TILE_ELEMENTS", "COLUMN_ELEMENTS"):
        monkeypatch.setattr(columns_module, name, elements)
    monkeypatch.setattr(columns_module, "MIN_ROWS", 1)
    monkeypatch.setattr(columns_module, "MIN_COLUMNS", 1)
    operator = make()
    matrix = operator.to_dense().numpy()
    indices = np.random.default_rng(0).permutation(operator.size)
    assert agree(operator.columns(indices), matrix[indices])
    assert agree(operator.diagonal(), matrix.diagonal())


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
def test_the_same_code_runs_on_tensors(energies, mixes, monkeypatch):
    """What a GPU would run, on the CPU: nothing is converted to NumPy arrays."""
    operator = make(TWO_ROTORS, 3, energies=energies, mixes=mixes)
    right = vectors(operator)
    for used in (module, columns_module, motions_module):
        monkeypatch.setattr(used, "native", lambda tensor: tensor)
    matrix = operator.to_dense()
    for max_memory in (None, 0):
        got = operator.product(max_memory=max_memory)(torch.tensor(right))
        assert isinstance(got, torch.Tensor)
        assert agree(got.numpy(), reference(operator, right))
    indices = np.arange(operator.size)[::2]
    assert agree(operator.columns(indices).numpy(), matrix[indices].numpy())
    assert agree(operator.diagonal().numpy(), matrix.diagonal().numpy())
