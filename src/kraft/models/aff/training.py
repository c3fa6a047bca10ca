"""Training an atomized force field (AFF, paper 001): from a dataset to parameters."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.data.dataset import Dataset
from kraft.descriptors import InverseDistances
from kraft.kernels.atom_geometries import LowerTiles
from kraft.kernels.radial import radial_kernel
from kraft.models.aff.choice import AtomizedChoice, AtomizedRequest, choose
from kraft.models.aff.energies import EnergyProcess
from kraft.models.aff.energy_choice import (
    EnergyChoice,
    HeldEnergies,
    choose_energies,
    frames_to_leave_out,
)
from kraft.models.aff.notices import atomized_notices
from kraft.models.aff.objective import Held
from kraft.models.aff.parameters import AtomizedParameters
from kraft.models.aff.result import AtomizedClock, AtomizedResult
from kraft.models.aff.solution import (
    AVAILABLE_SHARE,
    AtomizedSolution,
    expansion_forces,
    solve_sets,
)
from kraft.models.aff.systems import AtomizedArrays
from kraft.models.parameters import Record
from kraft.models.preparation import MAX_VALID_IN_SEARCH, checked, permutation_group
from kraft.solvers.rounding import by_raising
from kraft.symmetry.orbits import atom_orbits
from kraft.version import __version__


def train_aff(
    training: Dataset,
    validation: Dataset | None = None,
    *,
    kernel: str = "auto",
    length_scale: float | None = None,
    regularization: float | None = None,
    permutations: Literal["auto"] | ArrayLike | None = "auto",
    max_permutations: int | None = None,
    criterion: Literal["likelihood", "validation"] = "likelihood",
    max_memory: int | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[AtomizedParameters, AtomizedResult]:
    """Train one Gaussian process for each set of equivalent atoms, and one for the energy.

    Parameters
    ----------
    training
        Geometries to learn from.
    validation
        Geometries by which range and nugget are chosen with ``criterion="validation"``.
    kernel
        Name of a radial kernel (the paper's is ``"matern52"``), or ``"auto"`` for the one that the
        criterion likes best.
    length_scale
        Range of the forces' kernel in 1/Å; chosen when None.
    regularization
        Nugget of the forces' kernel; chosen when None.
    permutations
        ``"auto"`` finds the molecule's symmetries in the training geometries; None uses none; or
        an ``(S, N)`` group of permutations, the identity first.
    max_permutations
        Upper bound on the symmetries found.
    criterion
        ``"likelihood"``, the profile likelihood, or ``"validation"``, the force error on the
        validation geometries or, without any, at training geometries left out one by one.
    max_memory
        Bytes that it may allocate; sets that do not fit are solved iteratively.
    device
        Where to train.
    seed
        Of every random choice.
    progress
        Told about the stages.

    Raises
    ------
    DataError
        When the data cannot be trained on; the message names the frames.
    OptionError, SymmetryError
        When an option does not fit the data.
    MemoryLimitError
        When not even the iterative solver fits.
    SolverError
        When a system could not be solved. A nugget that rounding makes too small is raised, and
        a notice tells of it, unless it was given.
    """
    clock = AtomizedClock()
    request = AtomizedRequest(kernel, length_scale, regularization, criterion)
    report = checked(training, validation)
    clock.lap("checks")
    group, symmetry = permutation_group(training, permutations, max_permutations, seed, progress)
    clock.lap("symmetry")
    arrays = _arrays(training, group, device)
    held = None if validation is None else _held(arrays, validation)
    allowed = max_memory or int(AVAILABLE_SHARE * available_memory(device))
    keep = 4 * LowerTiles.memory(len(training), len(group)) < allowed
    by_error = held if criterion == "validation" else None
    choice = choose(arrays, request, by_error, seed=seed, progress=progress, keep=keep)
    clock.lap("choice")
    radial = radial_kernel(choice.kernel)
    solution, choice = _solved(
        arrays,
        choice,
        regularization is None,
        _left_out(training, by_error, seed),
        max_memory,
        seed,
        progress,
    )
    predicted = None
    if held is not None:
        predicted = expansion_forces(
            arrays, held.geometries, radial, choice.length_scale, solution.coefficients
        )
    clock.lap("solution")
    energy_choice, process = _energies(
        arrays, training, validation, choice, held, predicted, criterion, solution, seed, progress
    )
    clock.lap("energies")
    valid_mae = None
    if held is not None and predicted is not None:
        valid_mae = float((predicted - held.forces).abs().mean())
    parameters = _parameters(
        training, validation, group, choice, solution, process, valid_mae, seed
    )
    notices = atomized_notices(training, choice, energy_choice, solution)
    return parameters, AtomizedResult(
        choice=choice,
        energy_choice=energy_choice,
        permutations=group,
        symmetry=symmetry,
        sets=solution.outcomes,
        cost=solution.cost,
        valid_force_mae=valid_mae,
        report=report,
        notices=notices,
        timings=clock.timings(),
    )


def _arrays(training: Dataset, group: IntArray, device: str) -> AtomizedArrays:
    cell = None if training.cell is None else torch.tensor(training.cell, device=device)
    descriptor = InverseDistances(training.n_atoms, cell=cell, device=device)
    return AtomizedArrays.of(
        descriptor,
        torch.tensor(training.positions, device=device),
        torch.tensor(training.forces, device=device),
        group,
        atom_orbits(group),
        np.ones(descriptor.n_features),
    )


def _held(arrays: AtomizedArrays, validation: Dataset) -> Held:
    """Return (some of) the validation geometries, with the features of the training ones."""
    some = slice(0, MAX_VALID_IN_SEARCH)
    device = arrays.forces.device
    geometries = arrays.like(torch.tensor(validation.positions[some], device=device))
    return Held(geometries, torch.tensor(validation.forces[some], device=device))


def _solved(
    arrays: AtomizedArrays,
    choice: AtomizedChoice,
    may_raise: bool,
    leave_out: IntArray | None,
    max_memory: int | None,
    seed: int,
    progress: Progress,
) -> tuple[AtomizedSolution, AtomizedChoice]:
    """Solve all sets; where rounding defeats that, with a larger nugget if it was not given."""

    def attempt(factor: float) -> AtomizedSolution:
        return solve_sets(
            arrays,
            radial_kernel(choice.kernel),
            choice.length_scale,
            factor * choice.regularization,
            leave_out=leave_out,
            max_memory=max_memory,
            seed=seed,
            progress=progress,
        )

    solution, factor = by_raising(attempt) if may_raise else (attempt(1.0), 1.0)
    return solution, choice.raised(factor)


def _left_out(training: Dataset, by_error: Held | None, seed: int) -> IntArray | None:
    """Return the training geometries whose forces the choice for the energies asks for."""
    if training.energies is None or by_error is not None:
        return None
    return frames_to_leave_out(len(training), seed)


def _energies(
    arrays: AtomizedArrays,
    training: Dataset,
    validation: Dataset | None,
    choice: AtomizedChoice,
    held: Held | None,
    predicted: Tensor | None,
    criterion: str,
    solution: AtomizedSolution,
    seed: int,
    progress: Progress,
) -> tuple[EnergyChoice | None, EnergyProcess | None]:
    """Choose range and nugget of the energies and fit their mean and variance."""
    if training.energies is None:
        return None, None
    device, radial = arrays.forces.device, radial_kernel(choice.kernel)
    energies = torch.tensor(training.energies, device=device)
    by_error: HeldEnergies | None = None
    if criterion == "validation" and validation is not None and validation.energies is not None:
        if held is None or predicted is None:
            raise AssertionError("validation geometries were not prepared")
        known = torch.tensor(validation.energies[: len(predicted)], device=device)
        by_error = HeldEnergies(held.geometries, predicted, known)
    found = choose_energies(
        arrays.geometries,
        arrays.forces,
        energies,
        radial,
        by_error,
        solution.left_out,
        seed=seed,
        progress=progress,
    )
    process = EnergyProcess.fit(
        radial, found.length_scale, found.regularization, arrays.geometries, energies, found.offset
    )
    return found, process


def _parameters(
    training: Dataset,
    validation: Dataset | None,
    group: IntArray,
    choice: AtomizedChoice,
    solution: AtomizedSolution,
    process: EnergyProcess | None,
    valid_force_mae: float | None,
    seed: int,
) -> AtomizedParameters:
    """Gather everything that a model consists of."""
    provenance = training.provenance
    worst = max(outcome.relative_residual for outcome in solution.outcomes)
    iterative = any(outcome.solver == "iterative" for outcome in solution.outcomes)
    record = Record(
        name=provenance.name,
        theory=provenance.theory,
        source=provenance.source,
        source_fingerprint=training.source_fingerprint,
        train_indices=_indices(training),
        valid_indices=() if validation is None else _indices(validation),
        seed=seed,
        kraft_version=__version__,
        solver="iterative" if iterative else "dense",
        relative_residual=worst,
        jitter=max(outcome.jitter for outcome in solution.outcomes),
        valid_force_mae=valid_force_mae,
        choice=choice.criterion,
        status="converged" if iterative else "exact",
        iterations=sum(outcome.iterations for outcome in solution.outcomes),
    )
    return AtomizedParameters(
        atomic_numbers=training.atomic_numbers,
        permutations=group,
        kernel=choice.kernel,
        length_scale=choice.length_scale,
        regularization=choice.regularization,
        feature_weights=np.ones(training.n_atoms * (training.n_atoms - 1) // 2),
        training_positions=training.positions,
        coefficients=solution.coefficients.cpu().numpy(),
        set_variances=np.array(solution.variances),
        training_energies=training.energies,
        energy_length_scale=1.0 if process is None else process.length_scale,
        energy_regularization=0.0 if process is None else process.regularization,
        energy_mean=0.0 if process is None else process.mean,
        energy_variance=None if process is None else process.variance,
        energy_offset=0.0 if process is None else process.offset,
        cell=training.cell,
        units=training.units,
        record=record,
    )


def _indices(dataset: Dataset) -> tuple[int, ...]:
    indices = dataset.provenance.indices
    chosen = np.arange(len(dataset)) if indices is None else indices
    return tuple(int(index) for index in chosen)
