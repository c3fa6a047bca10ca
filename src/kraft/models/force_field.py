"""The force field: what training returns and what everything else uses."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.units import Units
from kraft.models.evaluator import Evaluator
from kraft.models.model_file import read_model, write_model
from kraft.models.parameters import Parameters, Record
from kraft.models.precision import require_precision, rounding_error

Precision = Literal["float64", "float32"]
_DTYPES = {"float64": torch.float64, "float32": torch.float32}


class Prediction(NamedTuple):
    """Energies in eV and forces in eV/Å.

    For ``B`` geometries energies are ``(B,)`` and forces ``(B, N, 3)``; for a single geometry
    ``(N, 3)`` they are ``()`` and ``(N, 3)``.
    """

    energies: FloatArray
    forces: FloatArray


@dataclass(frozen=True, eq=False)
class ForceField:
    """A trained force field of one molecule: energies, forces and Hessians; immutable.

    Forces are exactly the negative gradient of the energy, and both are invariant to translation,
    rotation and the molecule's permutations (papers 002 and 000).

    Parameters
    ----------
    parameters
        What it consists of.
    device
        Where it computes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    dtype
        Precision of the kernel expansion: ``"float64"`` or, faster but with an error that grows
        with the coefficients (:meth:`rounding_error` measures it), ``"float32"``.
    """

    parameters: Parameters
    device: str = "cpu"
    dtype: Precision = "float64"

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise OptionError(f"Unknown dtype {self.dtype!r}; choose float64 or float32.")
        check_device(self.device)

    def __repr__(self) -> str:
        p = self.parameters
        return (
            f"<ForceField {p.record.name or 'unnamed'}: {p.n_atoms} atoms, {p.n_train} training "
            f"geometries, {p.n_permutations} permutations, {p.radial_kernel.label}>"
        )

    @property
    def atomic_numbers(self) -> IntArray:
        """``(N,)`` atomic numbers, in the order that positions must have."""
        return self.parameters.atomic_numbers

    @property
    def permutations(self) -> IntArray:
        """``(S, N)`` permutations of equivalent atoms, the identity first."""
        return self.parameters.permutations

    @property
    def units(self) -> Units:
        """Units of the training data, for display; predictions are in eV and Å."""
        return self.parameters.units

    @property
    def record(self) -> Record:
        """Where the model comes from."""
        return self.parameters.record

    @cached_property
    def evaluator(self) -> Evaluator:
        """The tensors behind :meth:`predict`, made at the first use.

        Raises
        ------
        OptionError
            When the model is not usable in float32.
        """
        if self.dtype == "float32":
            require_precision(self.parameters, self.device)
        return Evaluator(self.parameters, self.device, _DTYPES[self.dtype])

    def to(self, *, device: str | None = None, dtype: Precision | None = None) -> ForceField:
        """Return the same force field on another device or in another precision."""
        return replace(self, device=device or self.device, dtype=dtype or self.dtype)

    def predict(self, positions: ArrayLike) -> Prediction:
        """Predict energies and forces.

        Parameters
        ----------
        positions
            ``(N, 3)`` one geometry or ``(B, N, 3)`` many, in Å.

        Raises
        ------
        GeometryError
            When the shape does not fit the molecule, a position is not finite or atoms coincide.
        """
        array = self._checked(positions)
        energies, forces = self._predict_many(array.reshape(-1, *array.shape[-2:]))
        finite = np.isfinite(energies)
        if not (finite.all() and np.isfinite(forces.sum())):
            finite &= np.isfinite(forces.reshape(len(finite), -1)).all(axis=1)
            raise _explain(array.reshape(-1, *array.shape[-2:]), int(np.argmin(finite)))
        if array.ndim == 2:
            return Prediction(energies.reshape(()), forces.reshape(array.shape))
        return Prediction(energies, forces)

    def _predict_many(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        evaluator = self.evaluator
        if len(positions) == 1 and evaluator.cpu is not None:
            return evaluator.cpu(positions)
        with torch.inference_mode():
            energies, forces = evaluator(torch.from_numpy(positions).to(self.device))
        return energies.cpu().numpy(), forces.cpu().numpy()

    def hessian(self, positions: ArrayLike) -> FloatArray:
        """Return the analytic Hessian ``(3N, 3N)`` in eV/Å² at one geometry ``(N, 3)`` in Å.

        Raises
        ------
        GeometryError
            When the shape does not fit the molecule, a position is not finite or atoms coincide.
        """
        array = self._checked(positions)
        if array.ndim != 2:
            raise GeometryError(
                f"Expected one geometry of shape ({len(self.atomic_numbers)}, 3), got "
                f"{array.shape}. Ask for the Hessians of several geometries one by one."
            )
        with torch.inference_mode():
            hessian = self.evaluator.hessian(torch.from_numpy(array).to(self.device))
        result: FloatArray = hessian.cpu().numpy()
        if not np.isfinite(result).all():
            raise _explain(array[None], 0)
        return result

    def rounding_error(self, positions: ArrayLike) -> float:
        """Return the mean absolute error of the forces, in eV/Å, that single precision brings.

        The coefficients of an accurate model are large numbers that nearly cancel, the larger the
        smaller the regularization, so single precision may cost more than it is worth; zero in
        double precision. ``positions`` as for :meth:`predict`.
        """
        if self.dtype == "float64":
            return 0.0
        array = self._checked(positions)
        return rounding_error(self.parameters, self.device, array.reshape(-1, *array.shape[-2:]))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file (see :mod:`kraft.models.model_file`), atomically."""
        write_model(self.parameters, path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, device: str = "cpu", dtype: Precision = "float64"
    ) -> ForceField:
        """Read a model file, wherever it was made."""
        return cls(read_model(path), device=device, dtype=dtype)

    def _checked(self, positions: ArrayLike) -> FloatArray:
        array = np.array(positions, dtype=np.float64, order="C")  # torch wants it writable
        n_atoms = len(self.atomic_numbers)
        if array.ndim not in (2, 3) or array.shape[-2:] != (n_atoms, 3):
            raise GeometryError(
                f"Expected positions of shape ({n_atoms}, 3) or (B, {n_atoms}, 3) in Å, got "
                f"{array.shape}. The model is for a molecule of {n_atoms} atoms."
            )
        if array.size == 0:
            raise GeometryError("Expected at least one geometry, got none.")
        return array


def check_device(device: str) -> None:
    """Raise OptionError unless torch can compute on this device."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise OptionError(f"Unknown device {device!r}; choose cpu, cuda or cuda:0.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise OptionError(
            "Device cuda was asked for, but torch finds no usable GPU. Install a CUDA build of "
            "torch, or choose --device cpu."
        )


def _explain(positions: FloatArray, index: int) -> GeometryError:
    """Return the error for geometry ``index`` of ``(B, N, 3)``, whose prediction is not finite."""
    where = f"geometry {index}" if len(positions) > 1 else "the geometry"
    if not np.isfinite(positions[index]).all():
        return GeometryError(
            f"Expected finite positions, but {where} has NaN or infinite ones. "
            "Look at the step before: a simulation may have become unstable."
        )
    return GeometryError(
        f"Two atoms of {where} are in the same place, so their distance has no inverse. "
        "Check the positions."
    )
