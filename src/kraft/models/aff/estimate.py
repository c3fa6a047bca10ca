"""What training an atomized force field will take, before it is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from numpy.typing import ArrayLike

from kraft.core.errors import OptionError
from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.data.dataset import Dataset
from kraft.models.aff.choice import ROUNDS, AtomizedRequest, work_of
from kraft.models.aff.cost import AtomizedCost, aff_cost
from kraft.models.aff.solution import AVAILABLE_SHARE
from kraft.models.preparation import permutation_group
from kraft.models.solver_speeds import MachineSpeeds
from kraft.symmetry.orbits import atom_orbits

TYPICAL_TRIALS = (20, 9, 7)
"""Trials of one kernel in each round of the choice, as a rule; all kernels are in the first."""

WORKING_SPEED = 0.5
"""Of the systems' work, relative to products of matrices."""


@dataclass(frozen=True)
class AtomizedEstimate:
    """What a training is expected to take.

    Attributes
    ----------
    n_train, n_permutations
        Training geometries, and permutations found or given.
    cost
        Memory and operations, in all and by set: counted, not measured.
    seconds_choice, seconds_solution
        Wall time of choosing range and nugget, and of solving all sets; that of symmetries and
        energies comes on top.
    allowed
        Bytes that the training may use.
    flops_per_second
        Measured rate of matrix products.
    """

    n_train: int
    n_permutations: int
    cost: AtomizedCost
    seconds_choice: float
    seconds_solution: float
    allowed: int
    flops_per_second: float

    @property
    def fits(self) -> bool:
        """Whether all sets are factorized; those that do not fit are solved iteratively."""
        return self.cost.memory <= self.allowed


def estimate_aff(
    dataset: Dataset,
    n_train: int,
    *,
    request: AtomizedRequest = AtomizedRequest(),  # noqa: B008
    permutations: Literal["auto"] | ArrayLike | None = "auto",
    max_permutations: int | None = None,
    max_memory: int | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> AtomizedEstimate:
    """Estimate what training on ``n_train`` geometries like those of ``dataset`` takes.

    Parameters
    ----------
    dataset
        Some geometries of the molecule; fewer than ``n_train`` will do.
    n_train
        Size of the training in question.
    request
        Which parameters are given.
    permutations, max_permutations, max_memory, device, seed, progress
        As for :func:`kraft.train_aff`.

    Raises
    ------
    OptionError
        When a number is out of range.
    """
    if n_train < 1:
        raise OptionError(f"Expected at least 1 training frame, got {n_train}.")
    group, _ = permutation_group(dataset, permutations, max_permutations, seed, progress)
    sets = atom_orbits(group)
    n_parallel = torch.get_num_threads() if torch.device(device).type == "cpu" else 1
    cost = aff_cost(n_train, len(group), sets, n_parallel=n_parallel)
    speed = MachineSpeeds.measure(device).flops
    rate = WORKING_SPEED * speed
    whole = work_of(cost.sets, len(group))
    choice = 0.0
    if request.kernel == "auto" or None in (request.length_scale, request.regularization):
        for index, (n_trials, (work, _, _)) in enumerate(zip(TYPICAL_TRIALS, ROUNDS, strict=True)):
            n_kernels = len(request.kernels) if index == 0 else 1
            choice += n_kernels * n_trials * min(work, whole) / rate
    allowed = max_memory or int(AVAILABLE_SHARE * available_memory(device))
    return AtomizedEstimate(n_train, len(group), cost, choice, whole / rate, allowed, speed)
