import numpy as np
import pytest
import torch
from contracts.solver_contract import narrow_panels, positive_matrix

from kraft.linalg import LowerPanels, NotPositiveDefiniteError
from kraft.linalg.panels import panel_entries


@pytest.fixture(params=[1, 16, None], ids=["narrow", "wide", "one panel"])
def width(request, monkeypatch):
    if request.param is not None:
        narrow_panels(monkeypatch, request.param)
    return request.param


def _filled(matrix, block):
    panels = LowerPanels(len(matrix), block_size=block, dtype=matrix.dtype, device=matrix.device)
    for row in range(0, len(matrix), block):
        for column in range(0, row + block, block):
            panels.set_block(row, column, matrix[row : row + block, column : column + block])
    return panels


@pytest.mark.parametrize("size, block", [(1, 1), (3, 3), (40, 1), (40, 4), (42, 7)])
def test_blocks_come_back(width, size, block, dtype, device):
    matrix = positive_matrix(size, dtype=dtype, device=device)
    panels = _filled(matrix, block)
    assert torch.equal(panels.to_dense(), matrix.tril() + matrix.tril(-1).T)
    assert torch.equal(panels.diagonal(), matrix.diagonal())
    assert all(start % block == 0 for start in panels.starts)


@pytest.mark.parametrize("size, block", [(1, 1), (40, 1), (40, 4), (42, 7), (300, 30)])
def test_entries_are_known_beforehand(width, size, block):
    panels = LowerPanels(size, block_size=block)
    assert sum(panel.numel() for panel in panels.panels) == panel_entries(size, block)
    assert panels.width % block == 0
    assert len(panels.panels) == 1 if width is None else panels.width >= width


def test_panels_hold_about_half_the_matrix():
    assert panel_entries(20_000, 21) < 0.56 * 20_000**2


@pytest.mark.parametrize("size, block", [(1, 1), (40, 4), (42, 7)])
def test_half_solutions(width, size, block, dtype, device):
    """By columns and by rows: their products are those of the whole solution."""
    matrix = positive_matrix(size, dtype=dtype, device=device)
    matrix = matrix / matrix.diagonal().mean() + torch.eye(size, dtype=dtype, device=device)
    factor = _filled(matrix, block).factorize_()
    right = torch.randn(size, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    right = right.to(device)
    half = factor.half_solve(right)
    expected = right.T @ torch.linalg.solve(matrix, right)
    tolerance = 1e4 * torch.finfo(dtype).eps
    torch.testing.assert_close(half.T @ half, expected, rtol=tolerance, atol=tolerance)
    by_rows = factor.half_solve_rows(right.T.contiguous())
    torch.testing.assert_close(by_rows, half.T, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size, block", [(1, 1), (40, 4), (42, 7)])
def test_concurrent_factorization_is_the_same(width, size, block):
    """With routines that let other threads run meanwhile."""
    matrix = positive_matrix(size, dtype=torch.float64, device="cpu")
    plain, beside = (
        _filled(matrix, block).factorize_(concurrent=concurrent) for concurrent in (False, True)
    )
    right = torch.ones(size, dtype=torch.float64)
    torch.testing.assert_close(beside.solve(right), plain.solve(right))
    assert beside.log_determinant() == pytest.approx(plain.log_determinant(), rel=1e-12)
    indefinite = matrix - 2.0 * matrix.diagonal().max() * torch.eye(size, dtype=torch.float64)
    with pytest.raises(NotPositiveDefiniteError):
        _filled(indefinite, block).factorize_(concurrent=True)


@pytest.mark.parametrize("size, block", [(1, 1), (3, 3), (40, 1), (40, 4), (42, 7)])
@pytest.mark.parametrize("columns", [None, 5])
def test_factor_solves_and_knows_the_determinant(width, size, block, columns, dtype, device):
    matrix = positive_matrix(size, condition=100.0, dtype=dtype, device=device)
    factor = _filled(matrix, block).factorize_()
    shape = (size,) if columns is None else (size, columns)
    b = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = b.to(device, dtype)
    before = b.clone()
    solution = factor.solve(b)
    expected = torch.linalg.solve(matrix.double(), b.double())
    tolerance = 1e5 * torch.finfo(dtype).eps
    torch.testing.assert_close(solution.double(), expected, rtol=tolerance, atol=tolerance)
    assert solution.shape == b.shape and torch.equal(b, before)
    determinant = float(torch.linalg.slogdet(matrix.double())[1])
    assert factor.log_determinant() == pytest.approx(determinant, rel=tolerance, abs=tolerance)
    assert factor.size == size


def test_diagonal_additions(width):
    matrix = positive_matrix(24)
    panels = _filled(matrix, 3)
    weights = torch.arange(24, dtype=torch.float64)
    panels.add_to_diagonal(2.0)
    panels.add_to_diagonal(weights)
    expected = matrix + torch.diag(2.0 + weights)
    torch.testing.assert_close(panels.to_dense(), expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("pivot", [0, 5, 23])
def test_the_pivot_that_failed_is_named(width, pivot):
    matrix = torch.eye(24, dtype=torch.float64)
    matrix[pivot, pivot] = -1.0
    with pytest.raises(NotPositiveDefiniteError, match=f"pivot {pivot + 1} of 24"):
        _filled(matrix, 1).factorize_()


def test_progress_grows_and_can_interrupt(monkeypatch):
    narrow_panels(monkeypatch, 8)
    calls = []
    _filled(positive_matrix(40), 4).factorize_(lambda *call: calls.append(call))
    done = [call[1] for call in calls]
    assert len(calls) == 6 and done == sorted(done) and done[-1] == calls[-1][2]

    def interrupt(stage, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _filled(positive_matrix(40), 4).factorize_(interrupt)


def test_inverse_and_an_independent_copy(width):
    matrix = positive_matrix(24, condition=100.0)
    panels = _filled(matrix, 3)
    twin = panels.copy()
    inverse = twin.factorize_().inverse()
    torch.testing.assert_close(inverse, torch.linalg.inv(matrix), rtol=1e-10, atol=1e-10)
    assert torch.equal(panels.to_dense(), matrix.tril() + matrix.tril(-1).T)


@pytest.mark.parametrize("blocks", [[2], [7, 0, 3], list(range(8))])
def test_diagonal_blocks_of_the_inverse(width, blocks, monkeypatch):
    """Also where they are computed a few columns at a time, and in any order."""
    monkeypatch.setattr("kraft.linalg.panels.INVERSE_COLUMNS", 6)
    matrix = positive_matrix(24, condition=100.0)
    starts = 3 * np.array(blocks)
    found = _filled(matrix, 3).factorize_().inverse_blocks(starts, 3)
    inverse = torch.linalg.inv(matrix)
    expected = torch.stack([inverse[row : row + 3, row : row + 3] for row in starts])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
