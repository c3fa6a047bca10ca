"""A committee: models that learned from parts of the training set, and how far they disagree.

The training geometries are dealt out at random in ``p`` parts of equal size, again and again until
there are enough members; each member is the same Gaussian process with the labels of one part. The
members' squared deviations from the full model estimate how far the error falls from a part to the
whole, and errors fall with the number of geometries about as its power ``-3/4``, so

    variance = p^{-3/2} · mean over members of (member - full)².

Forces: half of it is that of the component, half the mean over the components of its atom, for a
few members leave much noise. A member costs ``1/p`` of a prediction, all of them ``n_members/p``.
Unlike the exact posterior, the estimate knows the labels: it is larger where these surprise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import OptionError
from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.core.typing import IntArray
from kraft.models.evaluator import EnergiesForces, Evaluator
from kraft.models.parameters import Parameters, descriptors_and_coefficients
from kraft.models.solution import iterative_solver
from kraft.models.solver_choice import plan_solution
from kraft.models.solver_options import SolverOptions
from kraft.models.uncertainty.base import Deviations, Direction, UncertaintyOptions
from kraft.models.uncertainty.system import TrainedSystem
from kraft.solvers import DenseCholesky
from kraft.solvers.iterative import AVAILABLE_SHARE
from kraft.solvers.rounding import by_raising

EXPONENT = 0.75
"""Force errors fall as this power of the number of training geometries, about."""

MEMBER_LABELS = 8000
"""Labels of a member that are aimed at: its matrix is factorized in some seconds."""

LARGEST_FACTOR = 2 * MEMBER_LABELS
"""Labels of a member up to which it is factorized where it fits; larger ones are iterated."""

MOST_PARTS = 8
"""The smallest members learn from an eighth of the training geometries."""

LEAST_GEOMETRIES = 4
"""Training geometries without which there is no committee."""

RAISED = " Rounding made their regularization too small, so it was raised up to {:.0f} times."

STAGE = "training the committee"


@dataclass(frozen=True, eq=False)
class _Member:
    """A model of some of the geometries; ``offset`` makes its mean energy over all of them zero."""

    evaluator: Evaluator
    offset: float

    def __call__(self, positions: Tensor) -> EnergiesForces:
        energies, forces = self.evaluator(positions)
        return EnergiesForces(energies - self.offset, forces)


class CommitteeUncertainty:
    """Standard deviations from the disagreement of models of parts of the training set.

    Parameters
    ----------
    parameters
        The full model, with its training geometries.
    options
        Number of members, seed and memory limit.
    device
        Where to compute.
    progress
        Told of the members.

    Raises
    ------
    OptionError
        When the model lacks its training geometries, or has too few of them.
    SolverError
        When a member could not be trained.
    """

    method: str = "committee"
    direction: Direction = "estimate"

    def __init__(
        self,
        parameters: Parameters,
        options: UncertaintyOptions,
        device: str,
        progress: Progress = silent,
    ) -> None:
        system = TrainedSystem.from_parameters(parameters, device)
        if parameters.n_train < LEAST_GEOMETRIES:
            raise OptionError(
                f"A committee needs at least {LEAST_GEOMETRIES} training geometries, got "
                f"{parameters.n_train}. Take the exact uncertainty: it is cheap."
            )
        parts = n_parts(parameters.n_train, system.operator.block_size)
        subsets = deal(parameters.n_train, parts, options.n_members, options.seed)
        self._members = []
        raised = 1.0
        for index, chosen in enumerate(subsets):
            progress(STAGE, index, len(subsets))
            coefficients, factor = _solve(system.subset(chosen), options)
            raised = max(raised, factor)
            member = _member_parameters(parameters, system, chosen, coefficients)
            self._members.append(_with_offset(member, parameters, device))
        progress(STAGE, len(subsets), len(subsets))
        self._full = _with_offset(parameters, parameters, device)
        self.factor = parts**-EXPONENT
        self.description = (
            f"Disagreement of {len(subsets)} models of 1/{parts} of the {parameters.n_train} "
            f"training geometries each with the full one, times {self.factor:.2g} for its errors "
            "being smaller; an estimate." + ("" if raised == 1.0 else RAISED.format(raised))
        )

    @property
    def relative_cost(self) -> float:
        """Matrix products of one estimate, in units of those of one plain prediction."""
        flops = sum(member.evaluator.flops_per_geometry for member in self._members)
        return 1.0 + flops / self._full.evaluator.flops_per_geometry

    def deviations(self, positions: Tensor) -> Deviations:
        """Return the deviations at positions ``(B, N, 3)`` in Å."""
        full = self._full(positions)
        energies, forces = torch.zeros_like(full.energies), torch.zeros_like(full.forces)
        for member in self._members:
            predicted = member(positions)
            energies += (predicted.energies - full.energies).square_()
            forces += (predicted.forces - full.forces).square_()
        forces = 0.5 * (forces + forces.mean(dim=2, keepdim=True))
        scale = self.factor / math.sqrt(len(self._members))
        return Deviations(scale * energies.sqrt(), scale * forces.sqrt())


def n_parts(n_train: int, block_size: int) -> int:
    """Return the number of parts of a training set: 2 for a small one, more for a large one.

    >>> n_parts(200, 57), n_parts(1000, 57), n_parts(6000, 120)
    (2, 8, 8)
    """
    parts = math.ceil(n_train * block_size / MEMBER_LABELS)
    return min(max(parts, 2), MOST_PARTS, n_train // 2)


def deal(n_train: int, parts: int, n_members: int, seed: int) -> list[IntArray]:
    """Return the geometries of every member, in order; every ``parts`` members share them all.

    >>> [len(part) for part in deal(9, 2, 4, seed=0)]
    [5, 4, 5, 4]
    """
    rng = generator(seed, "committee")
    dealt: list[IntArray] = []
    while len(dealt) < n_members:
        dealt += [np.sort(part) for part in np.array_split(rng.permutation(n_train), parts)]
    return dealt[:n_members]


def _solve(system: TrainedSystem, options: UncertaintyOptions) -> tuple[Tensor, float]:
    """Return the coefficients of the labels of a part, and how far regularization was raised."""
    return by_raising(lambda factor: _attempt(system, factor * system.regularization, options))


def _attempt(system: TrainedSystem, regularization: Tensor, options: UncertaintyOptions) -> Tensor:
    """Return the coefficients of the labels of a part: by a factorization, where it fits."""
    operator = system.operator
    allowed = options.max_memory or int(AVAILABLE_SHARE * available_memory(operator.device))
    fits = DenseCholesky.required_memory(operator.size, operator.block_size) <= allowed
    if fits and operator.size <= LARGEST_FACTOR:
        prepared = DenseCholesky(allowed).prepare(operator, regularization)
        return prepared.solve(system.labels).coefficients
    solver_options = SolverOptions(solver="iterative", max_memory=options.max_memory)
    plan = plan_solution(
        operator,
        solver_options,
        regularization=regularization,
        labels=system.labels,
        seed=options.seed,
    )
    solver = iterative_solver(plan, solver_options, options.seed)
    outcome = solver.prepare(operator, regularization).solve(system.labels)
    outcome.require_converged()
    return outcome.coefficients


def _member_parameters(
    parameters: Parameters, system: TrainedSystem, chosen: IntArray, coefficients: Tensor
) -> Parameters:
    """Return the model of some of the geometries."""
    if parameters.training_positions is None:
        raise AssertionError("checked when the system was rebuilt")
    forces, energies = system.operator.subset(chosen).split(coefficients)
    alpha = forces.cpu().numpy()
    descriptors, products = descriptors_and_coefficients(
        parameters.training_positions[chosen],
        alpha,
        parameters.cell,
        parameters.features,
        parameters.feature_function,
    )
    return replace(
        parameters,
        training_descriptors=descriptors,
        feature_coefficients=products,
        energy_coefficients=None if energies is None else energies.cpu().numpy(),
        training_positions=None,
        coefficients=None,
    )


def _with_offset(member: Parameters, whole: Parameters, device: str) -> _Member:
    """Return a model whose energies are relative to their mean over all training geometries."""
    evaluator = Evaluator(member, device, torch.float64)
    positions = torch.tensor(whole.training_positions, dtype=torch.float64, device=device)
    with torch.inference_mode():
        return _Member(evaluator, float(evaluator(positions).energies.mean()))
