"""Training: from a dataset to a force field, every decision on record."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from kraft.core.errors import DataError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.data.checks import Report, check
from kraft.data.dataset import Dataset
from kraft.descriptors import InverseDistances
from kraft.models.energy_offset import EnergyOffset, fit_energy_offset
from kraft.models.force_field import ForceField, Precision, check_device
from kraft.models.labels import Labels
from kraft.models.model_file import descriptors_and_coefficients
from kraft.models.objective import TrainingArrays
from kraft.models.parameters import Parameters, Record
from kraft.models.selection import Choice, Request, choose
from kraft.models.training_notices import edge_notices, rounding_notices
from kraft.solvers import DenseCholesky, SolveOutcome
from kraft.symmetry import SymmetryResult, find_permutations
from kraft.symmetry.group import identity, validate
from kraft.symmetry.orbits import feature_orbits, feature_permutations
from kraft.version import __version__

MAX_IN_ROUNDING_ERROR = 50
"""Training geometries on which the error of single precision is measured."""

MAX_VALID_IN_SEARCH = 200
"""Validation geometries that a search for hyper-parameters looks at."""


@dataclass(frozen=True)
class Timings:
    """Wall time of the stages of a training in seconds."""

    checks: float
    symmetry: float
    choice: float
    assembly: float
    factorization: float
    solve: float
    energy_offset: float
    total: float


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Every decision, figure and timing of a training.

    Attributes
    ----------
    choice
        Kernel, length scale and regularization, how they were chosen and what was tried.
    permutations
        ``(S, N)`` permutation group in use.
    symmetry
        How it was found; None when it was given.
    outcome
        What the solver reports: residual, jitter, timings.
    energy_offset
        The integration constant and how well energies and forces agree; None without energies.
    valid_force_mae
        Force error of the final model (in double precision) on the validation geometries in eV/Å,
        or None.
    rounding_error
        Mean force error in eV/Å that single precision adds, measured on training geometries; zero
        in double precision.
    report
        Findings of the checks on the training data.
    notices
        Sentences that a person should read.
    """

    choice: Choice
    permutations: IntArray
    symmetry: SymmetryResult | None
    outcome: SolveOutcome
    energy_offset: EnergyOffset | None
    valid_force_mae: float | None
    rounding_error: float
    report: Report
    notices: tuple[str, ...]
    timings: Timings


def train(
    training: Dataset,
    validation: Dataset | None = None,
    *,
    kernel: str = "auto",
    length_scale: float | None = None,
    regularization: float | None = None,
    permutations: Literal["auto"] | ArrayLike | None = "auto",
    max_permutations: int | None = None,
    feature_weights: ArrayLike | None = None,
    energy_weight: float = 0.0,
    max_memory: int | None = None,
    device: str = "cpu",
    dtype: Precision = "float64",
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[ForceField, TrainingResult]:
    """Train a symmetric, energy-conserving force field (sGDML; papers 002 and 000).

    Parameters
    ----------
    training
        Geometries to learn from.
    validation
        Geometries by which hyper-parameters are chosen; disjoint from the training geometries.
        Without them the leave-one-geometry-out error is used.
    kernel
        ``"matern52"`` (the papers'), ``"matern72"``, ``"gaussian"``, or ``"auto"``.
    length_scale
        In units of the descriptor, 1/Å; chosen when None.
    regularization
        Added to the diagonal of the kernel matrix (the papers use 1e-10); chosen when None.
    permutations
        ``"auto"`` finds the molecule's symmetries in the training geometries; None uses none
        (GDML); or an ``(S, N)`` group of permutations, the identity first.
    max_permutations
        Upper bound on the symmetries found.
    feature_weights
        ``(D,)`` weight of every interatomic distance, equal for symmetric ones; one by default.
    energy_weight
        Weight of the energies among the labels; 0 learns from forces only, as the papers do.
    max_memory
        Bytes that the solver may allocate.
    device
        Where to train and predict: ``"cpu"`` or ``"cuda"``.
    dtype
        Precision of the force field's predictions; training is always in float64.
    seed
        Of every random choice.
    progress
        Told about the stages (see :class:`kraft.core.progress.Progress`).

    Returns
    -------
    ForceField
        The trained model.
    TrainingResult
        What was decided and measured on the way.

    Raises
    ------
    DataError
        When the data cannot be trained on; the message names the frames.
    OptionError, SymmetryError
        When an option does not fit the data.
    MemoryLimitError
        When the system would not fit, before it is built.
    SolverError
        When no accurate solution exists.
    """
    request = Request(kernel, length_scale, regularization)
    check_device(device)
    clock = _Clock()
    report = check(training)
    report.raise_if_fatal()
    _check_validation(training, validation)
    clock.lap("checks")

    group, symmetry = _permutation_group(training, permutations, max_permutations, seed, progress)
    clock.lap("symmetry")
    arrays = _training_arrays(training, validation, group, feature_weights, energy_weight, device)
    choice = choose(arrays, request, seed=seed, progress=progress)
    clock.lap("choice")

    operator, _, _ = arrays.operator(choice.kernel, choice.length_scale)
    weights = arrays.labels.regularization(operator, choice.regularization)
    solver = DenseCholesky(max_memory)
    outcome = solver.prepare(operator, weights, progress).solve(arrays.labels.vector(operator))
    clock.lap("solution")

    forces, energies = operator.split(outcome.coefficients * arrays.labels.scale)
    parameters = _parameters(training, group, arrays, choice, forces.cpu().numpy())
    if energies is not None:
        parameters = replace(parameters, energy_coefficients=energies.cpu().numpy())
    offset, notices = fit_energy_offset(ForceField(parameters, device), training)
    parameters = replace(parameters, energy_offset=0.0 if offset is None else offset.value)
    valid_mae = _force_mae(ForceField(parameters, device), validation)
    record = _record(training, validation, choice, outcome, offset, valid_mae, seed)
    model = ForceField(replace(parameters, record=record), device, dtype)
    rounding_error = model.rounding_error(training.positions[:MAX_IN_ROUNDING_ERROR])
    clock.lap("energy_offset")
    result = TrainingResult(
        choice=choice,
        permutations=group,
        symmetry=symmetry,
        outcome=outcome,
        energy_offset=offset,
        valid_force_mae=valid_mae,
        rounding_error=rounding_error,
        report=report,
        notices=(
            training.notices
            + notices
            + edge_notices(choice)
            + rounding_notices(rounding_error, training, valid_mae)
        ),
        timings=clock.timings(outcome),
    )
    return model, result


class _Clock:
    """Wall time of the stages of a training."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._laps[stage] = now - self._last
        self._last = now

    def timings(self, outcome: SolveOutcome) -> Timings:
        return Timings(
            checks=self._laps["checks"],
            symmetry=self._laps["symmetry"],
            choice=self._laps["choice"],
            assembly=outcome.seconds_assembly,
            factorization=outcome.seconds_factorization,
            solve=outcome.seconds_solve,
            energy_offset=self._laps["energy_offset"],
            total=self._last - self._started,
        )


def _check_validation(training: Dataset, validation: Dataset | None) -> None:
    if validation is None:
        return
    check(validation).raise_if_fatal()
    if not np.array_equal(training.atomic_numbers, validation.atomic_numbers):
        raise DataError(
            f"The validation set is {validation.formula}, the training set {training.formula} (or "
            "the atoms are in another order). Expected the same molecule with the same atom order."
        )


def _permutation_group(
    training: Dataset,
    permutations: Literal["auto"] | ArrayLike | None,
    max_permutations: int | None,
    seed: int,
    progress: Progress,
) -> tuple[IntArray, SymmetryResult | None]:
    if permutations is None:
        return identity(training.n_atoms)[None], None
    if not isinstance(permutations, str):
        return validate(permutations, training.atomic_numbers), None
    if permutations != "auto":
        raise OptionError(
            f"Unknown permutations {permutations!r}: give 'auto', None or an (S, N) array."
        )
    found = find_permutations(
        training.positions,
        training.atomic_numbers,
        cell=training.cell,
        max_permutations=max_permutations,
        seed=seed,
        progress=progress,
    )
    return found.permutations, found


def _training_arrays(
    training: Dataset,
    validation: Dataset | None,
    group: IntArray,
    feature_weights: ArrayLike | None,
    energy_weight: float,
    device: str,
) -> TrainingArrays:
    cell = None if training.cell is None else torch.tensor(training.cell, device=device)
    descriptor = InverseDistances(training.n_atoms, cell=cell, device=device)
    valid_positions = valid_forces = None
    if validation is not None:
        some = slice(0, MAX_VALID_IN_SEARCH)
        valid_positions = torch.tensor(validation.positions[some], device=device)
        valid_forces = torch.tensor(validation.forces[some], device=device)
    return TrainingArrays(
        descriptor=descriptor,
        positions=torch.tensor(training.positions, device=device),
        labels=Labels.from_dataset(training, energy_weight),
        feature_permutations=feature_permutations(group),
        feature_weights=_checked_weights(feature_weights, group, descriptor.n_features),
        valid_positions=valid_positions,
        valid_forces=valid_forces,
    )


def _checked_weights(
    feature_weights: ArrayLike | None, group: IntArray, n_features: int
) -> FloatArray:
    if feature_weights is None:
        return np.ones(n_features)
    weights = np.array(feature_weights, dtype=np.float64)
    usable = np.isfinite(weights).all() and (weights >= 0.0).all() and weights.any()
    if weights.shape != (n_features,) or not usable:
        raise OptionError(
            f"Feature weights must be {n_features} non-negative numbers, one a pair of atoms, not "
            f"all zero; got shape {weights.shape}."
        )
    for orbit in feature_orbits(group):
        if np.ptp(weights[orbit]) > 1e-12 * weights.max():
            raise OptionError(
                "Feature weights must be equal on equivalent pairs of atoms, but those of features "
                f"{orbit.tolist()} differ. Average them over the orbits of the permutations."
            )
    return weights


def _parameters(
    training: Dataset,
    group: IntArray,
    arrays: TrainingArrays,
    choice: Choice,
    coefficients: FloatArray,
) -> Parameters:
    descriptors, products = descriptors_and_coefficients(
        training.positions, coefficients, training.cell
    )
    return Parameters(
        atomic_numbers=training.atomic_numbers,
        permutations=group,
        kernel=choice.kernel,
        length_scale=choice.length_scale,
        regularization=choice.regularization,
        feature_weights=arrays.feature_weights,
        training_descriptors=descriptors,
        feature_coefficients=products,
        energy_offset=0.0,
        cell=training.cell,
        training_positions=training.positions,
        coefficients=coefficients,
        units=training.units,
    )


def _force_mae(model: ForceField, dataset: Dataset | None) -> float | None:
    if dataset is None:
        return None
    return float(np.abs(model.predict(dataset.positions).forces - dataset.forces).mean())


def _record(
    training: Dataset,
    validation: Dataset | None,
    choice: Choice,
    outcome: SolveOutcome,
    offset: EnergyOffset | None,
    valid_force_mae: float | None,
    seed: int,
) -> Record:
    origin = training.provenance
    return Record(
        name=origin.name,
        theory=origin.theory,
        source=origin.source,
        source_fingerprint=training.source_fingerprint,
        train_indices=_indices(training),
        valid_indices=() if validation is None else _indices(validation),
        seed=seed,
        kraft_version=__version__,
        solver=outcome.solver,
        relative_residual=outcome.relative_residual,
        jitter=outcome.jitter,
        energy_offset_scatter=None if offset is None else offset.scatter,
        valid_force_mae=valid_force_mae,
        choice=f"{choice.criterion}: {choice.reason}",
    )


def _indices(dataset: Dataset) -> tuple[int, ...]:
    indices = dataset.provenance.indices
    if indices is None:
        return tuple(range(len(dataset)))
    return tuple(int(index) for index in indices)
