"""What every descriptor must keep; subclass ``DescriptorContract`` and say how to make one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from molecules import MOLECULES, WATER, Molecule, random_rotation, tensor
from torch import Tensor

from kraft.core.errors import GeometryError
from kraft.core.typing import IntArray
from kraft.descriptors import Descriptor
from kraft.symmetry.orbits import feature_permutations, kept_pairs

CELL = np.array([[7.0, 0.3, 0.0], [0.0, 6.5, 0.2], [0.1, 0.0, 8.0]])


class DescriptorContract:
    """Shared suite: set ``make`` to a callable ``(n_atoms, *, cell, device, dtype, ...)``.

    ``options`` are further arguments of it; ``features`` are the pairs that are kept.
    """

    make: Callable[..., Descriptor]

    def kept(self, molecule: Molecule) -> IntArray | None:
        """Return the pairs of a molecule that are kept; None for all."""
        return self.options(molecule).get("features")

    def options(self, molecule: Molecule) -> dict[str, Any]:  # noqa: ARG002
        """Return further arguments of ``make``."""
        return {}

    @pytest.fixture(params=MOLECULES, ids=str)
    def molecule(self, request: pytest.FixtureRequest) -> Molecule:
        return request.param

    @pytest.fixture(params=[False, True], ids=["free", "periodic"])
    def cell(self, request: pytest.FixtureRequest) -> np.ndarray | None:
        return CELL if request.param else None

    def build(self, molecule, cell=None, dtype=torch.float64, device="cpu") -> Descriptor:
        return type(self).make(
            molecule.n_atoms,
            cell=None if cell is None else tensor(cell),
            device=device,
            dtype=dtype,
            **self.options(molecule),
        )

    def jacobian(self, descriptor: Descriptor, positions: Tensor) -> Tensor:
        """The oracle: ``(B, D, N, 3)`` by automatic differentiation of ``values``."""
        return torch.func.vmap(
            torch.func.jacrev(lambda geometry: descriptor.values(geometry[None])[0])
        )(positions)

    def test_shapes(self, molecule, cell, dtype, device):
        descriptor = self.build(molecule, cell, dtype, device)
        n = molecule.n_atoms
        first, second = kept_pairs(n, self.kept(molecule))
        d = len(first)
        assert (descriptor.n_atoms, descriptor.n_features) == (n, d)
        assert descriptor.first_atoms.tolist() == first.tolist()
        assert descriptor.second_atoms.tolist() == second.tolist()
        assert descriptor.turns_freely == (cell is None)
        positions = tensor(molecule.frames(3), dtype, device)
        features = descriptor.evaluate(positions)
        assert features.values.shape == (3, d) and features.gradients.shape == (3, d, 3)
        assert features.values.dtype == dtype and features.values.device.type == device

    def test_evaluate_agrees_with_values_and_autograd(self, molecule, cell, dtype, device):
        descriptor = self.build(molecule, cell, dtype, device)
        positions = tensor(molecule.frames(2), dtype, device)
        features = descriptor.evaluate(positions)
        tolerance = 100 * torch.finfo(dtype).eps
        torch.testing.assert_close(
            features.values, descriptor.values(positions), rtol=tolerance, atol=tolerance
        )
        jacobian = self.jacobian(descriptor, positions)
        first, second = kept_pairs(molecule.n_atoms, self.kept(molecule))
        expected = torch.zeros_like(jacobian)
        for d, (a, b) in enumerate(zip(first, second, strict=True)):
            expected[:, d, a] = features.gradients[:, d]
            expected[:, d, b] = -features.gradients[:, d]
        scale = float(jacobian.abs().max())
        torch.testing.assert_close(jacobian, expected, rtol=0, atol=tolerance * scale)

    def test_inputs_are_not_changed(self, molecule, cell):
        descriptor = self.build(molecule, cell)
        positions = tensor(molecule.frames(2))
        before = positions.clone()
        features = descriptor.evaluate(positions)
        kept = [part.clone() for part in features]
        descriptor.jacobian_product(features, positions)
        descriptor.jacobian_transpose_product(features, features.values)
        descriptor.curvature(positions[0], features.values[0])
        assert torch.equal(positions, before)
        assert all(torch.equal(a, b) for a, b in zip(features, kept, strict=True))

    def test_jacobian_products_are_those_of_the_jacobian(self, molecule, cell, dtype, device):
        descriptor = self.build(molecule, cell, dtype, device)
        positions = tensor(molecule.frames(2), dtype, device)
        features = descriptor.evaluate(positions)
        jacobian = self.jacobian(descriptor, positions)
        rng = np.random.default_rng(1)
        one = tensor(rng.normal(size=(2, molecule.n_atoms, 3)), dtype, device)
        many = tensor(rng.normal(size=(2, molecule.n_atoms, 3, 4)), dtype, device)
        weights = tensor(rng.normal(size=(2, descriptor.n_features)), dtype, device)
        options = {"rtol": 0, "atol": 1000 * torch.finfo(dtype).eps * float(jacobian.abs().max())}
        torch.testing.assert_close(
            descriptor.jacobian_product(features, one),
            torch.einsum("bdnx,bnx->bd", jacobian, one),
            **options,
        )
        torch.testing.assert_close(
            descriptor.jacobian_product(features, many),
            torch.einsum("bdnx,bnxc->bdc", jacobian, many),
            **options,
        )
        torch.testing.assert_close(
            descriptor.jacobian_transpose_product(features, weights),
            torch.einsum("bdnx,bd->bnx", jacobian, weights),
            **options,
        )

    def test_products_are_adjoint(self, molecule, cell):
        descriptor = self.build(molecule, cell)
        features = descriptor.evaluate(tensor(molecule.frames(3, seed=2)))
        rng = np.random.default_rng(3)
        v = tensor(rng.normal(size=(3, molecule.n_atoms, 3)))
        w = tensor(rng.normal(size=(3, descriptor.n_features)))
        left = (descriptor.jacobian_product(features, v) * w).sum()
        right = (v * descriptor.jacobian_transpose_product(features, w)).sum()
        assert float(left) == pytest.approx(float(right), rel=1e-12)

    def test_curvature_is_the_second_derivative(self, molecule, cell, dtype, device):
        descriptor = self.build(molecule, cell, dtype, device)
        positions = tensor(molecule.frames(1), dtype, device)[0]
        weights = tensor(np.random.default_rng(4).normal(size=descriptor.n_features), dtype, device)
        expected = torch.func.hessian(
            lambda geometry: descriptor.values(geometry[None])[0] @ weights
        )(positions)
        curvature = descriptor.curvature(positions, weights)
        assert curvature.shape == (molecule.n_atoms, 3, molecule.n_atoms, 3)
        tolerance = 1000 * torch.finfo(dtype).eps * float(expected.abs().max())
        torch.testing.assert_close(curvature, expected, rtol=0, atol=tolerance)

    def test_rank_is_that_of_the_jacobian(self, molecule, cell):
        descriptor = self.build(molecule, cell)
        jacobian = self.jacobian(descriptor, tensor(molecule.frames(2))).flatten(2)
        values = torch.linalg.svdvals(jacobian)
        ranks = (values > 1e-9 * values[:, :1]).sum(dim=1)
        assert int(ranks.max()) <= descriptor.jacobian_rank <= descriptor.n_internal_motions
        if not molecule.linear and cell is None:
            assert int(ranks.max()) == descriptor.jacobian_rank

    def test_translation_changes_nothing(self, molecule, cell):
        descriptor = self.build(molecule, cell)
        positions = tensor(molecule.frames(2))
        shifted = positions + tensor(np.array([10.0, -3.0, 0.7]))
        torch.testing.assert_close(
            descriptor.values(shifted), descriptor.values(positions), rtol=1e-12, atol=0
        )

    def test_rotation_and_reflection_change_nothing_without_a_cell(self, molecule):
        descriptor = self.build(molecule)
        positions = molecule.frames(2)
        expected = descriptor.values(tensor(positions))
        for matrix in (random_rotation(5), -np.eye(3)):
            turned = descriptor.values(tensor(positions @ matrix.T))
            torch.testing.assert_close(turned, expected, rtol=1e-12, atol=0)

    def test_permuting_atoms_permutes_features(self, molecule):
        descriptor = self.build(molecule)
        positions = molecule.frames(1)[0]
        values = descriptor.values(tensor(positions)[None])[0]
        table = feature_permutations(molecule.permutations, self.kept(molecule))
        for atoms, features in zip(molecule.permutations, table, strict=True):
            moved = descriptor.values(tensor(positions[atoms])[None])[0]
            torch.testing.assert_close(moved, values[torch.as_tensor(features)])

    def test_a_cell_takes_the_nearest_images(self, molecule):
        free, periodic = self.build(molecule), self.build(molecule, 5.0 * CELL)
        positions = molecule.frames(2)
        images = np.random.default_rng(6).integers(-2, 3, size=(2, molecule.n_atoms, 3))
        moved = tensor(positions + images @ (5.0 * CELL))
        expected = free.evaluate(tensor(positions))
        got = periodic.evaluate(moved)
        torch.testing.assert_close(got.values, expected.values, rtol=1e-10, atol=0)
        torch.testing.assert_close(got.gradients, expected.gradients, rtol=1e-9, atol=1e-11)

    def test_one_atom_is_refused(self):
        with pytest.raises(GeometryError, match="two atoms"):
            type(self).make(1)

    def test_batches_are_independent(self, cell):
        descriptor = self.build(WATER, cell)
        positions = tensor(WATER.frames(4))
        batch = descriptor.evaluate(positions)
        for index in range(4):
            single = descriptor.evaluate(positions[index : index + 1])
            assert torch.equal(single.values[0], batch.values[index])
            assert torch.equal(single.gradients[0], batch.gradients[index])
