"""The force field: what training returns and what everything else uses."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, overload

import numpy as np
import torch
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.data.units import Units
from kraft.models.device import check_device
from kraft.models.evaluator import Evaluator
from kraft.models.kinds import AnyParameters, Kind, ModelEvaluator, kind_of
from kraft.models.model_file import read_model, write_model
from kraft.models.parameters import Record
from kraft.models.precision import require_precision, rounding_error
from kraft.models.prediction import Prediction, UncertainPrediction
from kraft.models.query import checked_positions, not_finite
from kraft.models.uncertainty.base import Method, UncertaintyModel, UncertaintyOptions
from kraft.models.uncertainty.calibration import Calibration
from kraft.models.uncertainty.calibration_data import calibrate
from kraft.models.uncertainty.novelty import Novelty

Precision = Literal["float64", "float32"]
_DTYPES = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True, eq=False)
class ForceField:
    """A trained force field of one molecule: energies, forces, how sure they are; immutable.

    Energies and forces respect translation, rotation and the molecule's permutations. Forces of an
    sGDML model (papers 002 and 000) are exactly the negative gradient of the energy; those of an
    atomized one (AFF, paper 001) are not, see :attr:`conservative`.

    Parameters
    ----------
    parameters
        What it consists of; their type makes it an sGDML or an atomized force field.
    device
        Where it computes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    dtype
        Precision of the kernel expansion: ``"float64"`` or, faster but with an error that grows
        with the coefficients (:meth:`rounding_error` measures it), ``"float32"``. Uncertainties
        are always computed in float64.
    uncertainty_options
        How uncertainties are computed; :meth:`with_uncertainty` changes them.
    """

    parameters: AnyParameters
    device: str = "cpu"
    dtype: Precision = "float64"
    uncertainty_options: UncertaintyOptions = UncertaintyOptions()  # noqa: RUF009

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise OptionError(f"Unknown dtype {self.dtype!r}; choose float64 or float32.")
        check_device(self.device)

    def __repr__(self) -> str:
        p = self.parameters
        kind = "" if self.conservative else f"{self.kind.label}, "
        return (
            f"<ForceField {p.record.name or 'unnamed'}: {kind}{p.n_atoms} atoms, {p.n_train} "
            f"training geometries, {p.n_permutations} permutations, {p.radial_kernel.label}>"
        )

    @property
    def kind(self) -> Kind:
        """The kind of model: sGDML or AFF."""
        return kind_of(self.parameters)

    @property
    def conservative(self) -> bool:
        """Whether forces are exactly the negative gradient of the energy: True for sGDML.

        Dynamics with an atomized force field (False) do not conserve its energy.
        """
        return self.kind.conservative

    @property
    def knows_energies(self) -> bool:
        """Whether energies are those of the reference data, rather than up to a constant."""
        return self.kind.knows_energies(self.parameters)

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

    @property
    def has_energies(self) -> bool:
        """Whether energies are predicted at all; not by an AFF model trained without any.

        An sGDML model trained without energies has the differences of energies.
        """
        return self.conservative or self.knows_energies

    @property
    def calibration(self) -> Calibration | None:
        """The calibration of the model, or None; it is in effect for the method it was made for."""
        return self.parameters.calibration

    @cached_property
    def evaluator(self) -> ModelEvaluator:
        """The tensors behind :meth:`predict`, made at the first use.

        Raises
        ------
        OptionError
            When the model is not usable in float32.
        """
        if self.dtype == "float32":
            require_precision(self.parameters, self.device)
        return self.kind.evaluator(self.parameters, self.device, _DTYPES[self.dtype])

    @cached_property
    def uncertainty(self) -> UncertaintyModel:
        """What computes the (uncalibrated) standard deviations, made at the first use.

        Its ``method``, ``direction`` and ``description`` tell what they are; the method is that of
        the model's calibration unless another is asked for. Making it may take as
        long as the training did; :meth:`prepare_uncertainty` does so with a report of the progress.

        Raises
        ------
        OptionError
            When the model lacks its training geometries (one imported from another program).
        MemoryLimitError
            When the method asked for would not fit.
        """
        return self._made_uncertainty(silent)

    def prepare_uncertainty(self, progress: Progress = silent) -> UncertaintyModel:
        """Return :attr:`uncertainty`; where it is not made yet, make it and tell how far it is."""
        if "uncertainty" not in self.__dict__:
            self.__dict__["uncertainty"] = self._made_uncertainty(progress)
        return self.uncertainty

    def _made_uncertainty(self, progress: Progress) -> UncertaintyModel:
        options, calibration = self.uncertainty_options, self.calibration
        if options.method == "auto" and calibration is not None:
            options = replace(options, method=calibration.method)
        return self.kind.uncertainty(self.parameters, options, self.device, progress)

    @cached_property
    def _novelty(self) -> Novelty:
        return Novelty(self.parameters, self.device)

    def to(self, *, device: str | None = None, dtype: Precision | None = None) -> ForceField:
        """Return the same force field on another device or in another precision."""
        return replace(self, device=device or self.device, dtype=dtype or self.dtype)

    def with_uncertainty(
        self,
        method: Method = "auto",
        *,
        max_memory: int | None = None,
        n_members: int = UncertaintyOptions.n_members,
        seed: int = 0,
    ) -> ForceField:
        """Return the same force field with other options of its uncertainty.

        They are those of :class:`kraft.models.uncertainty.UncertaintyOptions`.

        Raises
        ------
        OptionError
            When one is out of its range.
        """
        options = UncertaintyOptions(method, max_memory, n_members, seed)
        return replace(self, uncertainty_options=options)

    def calibrated(self, dataset: Dataset, progress: Progress = silent) -> ForceField:
        """Return the same force field with a calibration fitted to ``dataset``.

        The factors make 95 % intervals, 1.96 standard deviations to both sides, cover 95 % of new
        data like these (:mod:`kraft.models.uncertainty.calibration`). Predictions stay the same.

        Parameters
        ----------
        dataset
            At least 20 frames that the model was not trained on; validation frames are fine.
        progress
            Told about the stages.

        Raises
        ------
        GeometryError
            When the dataset is of another molecule.
        OptionError
            When frames are too few, training frames are among them, or errors cannot be scaled.
        """
        model = self.prepare_uncertainty(progress)
        plain = self._with_calibration(None)
        calibration = calibrate(
            self.parameters,
            lambda positions: plain.predict(positions, uncertainty=True),
            model.method,
            dataset,
            progress,
        )
        return self._with_calibration(calibration)

    def _with_calibration(self, calibration: Calibration | None) -> ForceField:
        """Return the same force field with another calibration, on which nothing else depends."""
        made = replace(self, parameters=replace(self.parameters, calibration=calibration))
        for name in ("evaluator", "uncertainty", "_novelty"):
            if name in self.__dict__:
                made.__dict__[name] = self.__dict__[name]
        return made

    @overload
    def predict(
        self, positions: ArrayLike, *, uncertainty: Literal[False] = False
    ) -> Prediction: ...

    @overload
    def predict(
        self, positions: ArrayLike, *, uncertainty: Literal[True]
    ) -> UncertainPrediction: ...

    @overload
    def predict(
        self, positions: ArrayLike, *, uncertainty: bool
    ) -> Prediction | UncertainPrediction: ...

    def predict(
        self, positions: ArrayLike, *, uncertainty: bool = False
    ) -> Prediction | UncertainPrediction:
        """Predict energies and forces and, if asked for, how sure they are.

        Parameters
        ----------
        positions
            ``(N, 3)`` one geometry or ``(B, N, 3)`` many, in Å.
        uncertainty
            Whether to return standard deviations too, calibrated where the model has a calibration
            for the method of its uncertainty. That of an energy is of the energy relative to the
            mean of the training geometries.

        Returns
        -------
        Prediction or UncertainPrediction
            Energies are NaN where nothing is known of them (:attr:`has_energies`).

        Raises
        ------
        GeometryError
            When the shape does not fit the molecule, a position is not finite or atoms coincide.
        OptionError, MemoryLimitError
            When uncertainties cannot be had (:attr:`uncertainty`).
        """
        array = checked_positions(positions, self.parameters.n_atoms)
        batch = array.reshape(-1, *array.shape[-2:])
        energies, forces = self._predict_many(batch)
        if not math.isfinite(energies.sum() + forces.sum()):
            finite = np.isfinite(energies) & np.isfinite(forces).all(axis=(1, 2))
            if not finite.all():
                raise not_finite(batch, int(np.argmin(finite)))
        if not self.has_energies:
            energies = np.full_like(energies, np.nan)
        values = Prediction(energies.reshape(array.shape[:-2]), forces.reshape(array.shape))
        if not uncertainty:
            return values
        energies_std, forces_std = self._deviations(batch)
        return UncertainPrediction(
            *values, energies_std.reshape(array.shape[:-2]), forces_std.reshape(array.shape)
        )

    def _predict_many(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        evaluator = self.evaluator
        if isinstance(evaluator, Evaluator) and evaluator.cpu is not None:
            return evaluator.in_numpy(positions)
        with torch.inference_mode():
            energies, forces = evaluator(torch.from_numpy(positions).to(self.device))
        return energies.cpu().numpy(), forces.cpu().numpy()

    def _deviations(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return standard deviations at ``(B, N, 3)``, with the factors of the calibration."""
        model = self.uncertainty
        with torch.inference_mode():
            found = model.deviations(torch.from_numpy(positions).to(self.device))
        energies, forces = found.energies.cpu().numpy(), found.forces.cpu().numpy()
        calibration = self.calibration
        if calibration is None or calibration.method != model.method:
            return energies, forces
        return energies * (calibration.energies or 1.0), forces * calibration.forces

    def novelty(self, positions: ArrayLike) -> FloatArray:
        """Tell how far geometries are from the training geometries, cheaper than a prediction.

        About 1 for geometries like those, growing outside: fast enough for every step of a
        simulation (:mod:`kraft.models.uncertainty.novelty`).

        Parameters
        ----------
        positions
            ``(N, 3)`` one geometry or ``(B, N, 3)`` many, in Å.

        Returns
        -------
        ndarray
            ``()`` or ``(B,)``.

        Raises
        ------
        GeometryError
            When the shape does not fit the molecule, a position is not finite or atoms coincide.
        """
        array = checked_positions(positions, self.parameters.n_atoms)
        batch = array.reshape(-1, *array.shape[-2:])
        with torch.inference_mode():
            found = self._novelty(torch.from_numpy(batch).to(self.device)).cpu().numpy()
        finite = np.isfinite(found)
        if not finite.all():
            raise not_finite(batch, int(np.argmin(finite)))
        result: FloatArray = found.reshape(array.shape[:-2])
        return result

    def hessian(self, positions: ArrayLike) -> FloatArray:
        """Return the analytic Hessian ``(3N, 3N)`` in eV/Å² at one geometry ``(N, 3)`` in Å.

        Raises
        ------
        GeometryError
            When the shape does not fit the molecule, a position is not finite or atoms coincide.
        OptionError
            When the model has no Hessian, since its forces are no gradient.
        """
        second_derivatives = self.kind.hessian
        if second_derivatives is None:
            raise OptionError(
                f"An {self.kind.label} model has no Hessian: its forces are no gradient of its "
                "energy. Differentiate its forces numerically, or train an sGDML model."
            )
        array = checked_positions(positions, self.parameters.n_atoms)
        if array.ndim != 2:
            raise GeometryError(
                f"Expected one geometry of shape ({len(self.atomic_numbers)}, 3), got "
                f"{array.shape}. Ask for the Hessians of several geometries one by one."
            )
        with torch.inference_mode():
            hessian = second_derivatives(self.evaluator, torch.from_numpy(array).to(self.device))
        result: FloatArray = hessian.cpu().numpy()
        if not np.isfinite(result).all():
            raise not_finite(array[None], 0)
        return result

    def rounding_error(self, positions: ArrayLike) -> float:
        """Return the mean absolute error of the forces, in eV/Å, that single precision brings.

        The coefficients of an accurate model are large numbers that nearly cancel, the larger the
        smaller the regularization, so single precision may cost more than it is worth; zero in
        double precision. ``positions`` as for :meth:`predict`.
        """
        if self.dtype == "float64":
            return 0.0
        array = checked_positions(positions, self.parameters.n_atoms)
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
