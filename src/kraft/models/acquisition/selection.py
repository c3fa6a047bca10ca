"""Choosing the frames of a pool whose labels would help a force field most, as a batch.

One frame after the other is chosen, each the one that lowers the uncertainty of the whole pool
most, and the posterior is conditioned on it before the next: near copies of a chosen frame have
lost their value then. The sum that is lowered is

    Σ_j  e_j · (variance of frame j's forces) / (the same before the selection),

over all frames of the pool. The covariance of a Gaussian process does not know the labels, and so
not where the model is wrong more often than it thinks; the disagreement ``e_j`` of a committee of
models of parts of the training set does. Labels of the pool are not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from kraft.core.errors import DataError, OptionError
from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.models.acquisition.directions import force_directions
from kraft.models.acquisition.greedy import greedy_choice
from kraft.models.force_field import ForceField
from kraft.models.parameters import Parameters
from kraft.models.prediction import BATCH
from kraft.models.query import checked_positions, not_finite
from kraft.models.uncertainty.base import UncertaintyOptions
from kraft.models.uncertainty.committee import LEAST_GEOMETRIES, CommitteeUncertainty
from kraft.models.uncertainty.exact import ExactUncertainty
from kraft.models.uncertainty.landmarks import LandmarkUncertainty
from kraft.models.uncertainty.system import TrainedSystem
from kraft.solvers import DenseCholesky

SelectionMethod = Literal["auto", "exact", "landmarks"]
"""Posterior given all training frames, or given some of them."""

Weighting = Literal["errors", "equal"]
"""Frames count by their estimated errors, or all alike."""

N_MEMBERS = 16
"""Of the committee that estimates errors."""

EXACT_LABELS = 16_000
"""Training labels up to which the posterior is that given all of them: half a minute's work."""

LANDMARK_LABELS = 8000
"""Labels of the training frames that a larger model's posterior is given."""

MOST_ROWS = 4000
"""Rows of the joint covariance: 128 MB, read once for each frame chosen."""

LEAST_DIRECTIONS = 2
"""Forces of a frame that are looked at, at least; so much larger pools are thinned at random."""

COVARIANCE_STAGE = "covariance of the pool"

COPIES = 5
"""Arrays of the size of the joint covariance at the peak."""

TRAINED = 1e-4
"""A frame this near to a training frame, in units of their usual distance, is one of them."""


@dataclass(frozen=True, eq=False)
class SelectedFrames:
    """Frames worth their labels, the most valuable first.

    Attributes
    ----------
    indices
        ``(n,)`` numbers of the frames in the pool.
    gains
        ``(n,)`` share of the pool's uncertainty that each removes, given all before it. The
        uncertainty is the mean over frames, weighted, of the variance of their forces relative to
        what it is before the selection.
    n_pool
        Frames in the pool.
    n_trained
        Frames left out because the model was trained on them.
    n_candidates
        Frames that were looked at.
    n_directions
        Forces of each that were looked at.
    method
        ``"exact"`` or ``"landmarks"``.
    weighting
        ``"errors"``, ``"equal"`` or ``"given"``.
    notices
        What was decided on the way, a sentence each.
    """

    indices: IntArray
    gains: FloatArray
    n_pool: int
    n_trained: int
    n_candidates: int
    n_directions: int
    method: str
    weighting: str
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def removed(self) -> float:
        """Share of the pool's uncertainty that all of them remove together."""
        return float(self.gains.sum())


def select_frames(
    force_field: ForceField,
    positions: ArrayLike,
    n: int,
    *,
    method: SelectionMethod = "auto",
    weighting: Weighting | ArrayLike = "errors",
    max_memory: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SelectedFrames:
    """Choose the frames of a pool whose labels would help a force field most.

    Parameters
    ----------
    force_field
        An sGDML model that knows its training geometries.
    positions
        ``(P, N, 3)`` the pool in Å, in the model's order of atoms; labels are not needed.
    n
        How many frames to choose.
    method
        ``"exact"`` is the posterior given all training frames, ``"landmarks"`` that given some of
        them, which is an upper bound; ``"auto"`` is exact up to :data:`EXACT_LABELS` training
        labels where they fit into the memory.
    weighting
        ``"errors"`` counts the frames of the pool by the errors that a committee of models of parts
        of the training set expects for them, ``"equal"`` counts all alike; or ``(P,)`` numbers of
        your own, not negative, by which to count the share of its variance removed from each frame.
    max_memory
        Bytes it may use; what the machine has available when not given.
    seed
        Of the directions in which forces are looked at, of the thinning of a large pool, of the
        committee and of the choice of landmarks.
    progress
        Told of the stages.

    Raises
    ------
    DataError
        When the pool has fewer frames than asked for, training frames aside.
    GeometryError
        When positions do not fit the molecule or are not finite.
    OptionError
        When an option is out of range, or the model cannot tell joint uncertainties.
    MemoryLimitError
        When it does not fit into the memory.
    """
    parameters = _sgdml_parameters(force_field)
    pool = checked_positions(positions, parameters.n_atoms)
    pool = pool.reshape(-1, *pool.shape[-2:])
    finite = np.isfinite(pool).all(axis=(1, 2))
    if not finite.all():
        raise not_finite(pool, int(np.argmin(finite)))
    given = _checked_weights(weighting, len(pool))
    _check_options(n, method)
    new = np.flatnonzero(force_field.novelty(pool) >= TRAINED)
    _check_amount(n, len(pool), len(new))
    system = TrainedSystem.from_parameters(parameters, force_field.device)
    allowed = max_memory or available_memory(force_field.device)
    notices: list[str] = []
    posterior = _posterior(system, method, max_memory, seed, progress, notices)
    rows = _rows_that_fit(allowed, posterior.n_labels)
    candidates = _thinned(new, max(n, rows // LEAST_DIRECTIONS), seed, notices)
    positions_of_candidates = torch.tensor(pool[candidates], device=force_field.device)
    with torch.inference_mode():
        covariance, n_directions = _joint_covariance(
            system, posterior, positions_of_candidates, rows, seed, progress
        )
        errors = (
            None
            if given is None
            else torch.tensor(given[candidates], device=system.operator.device)
        )
        if given is None and weighting == "errors":
            errors = _expected_errors(
                parameters, positions_of_candidates, max_memory, seed, progress, notices
            )
        noise = system.variance * float(system.regularization[0])
        chosen, gains = greedy_choice(covariance, len(candidates), n, noise, errors, progress)
    return SelectedFrames(
        indices=candidates[chosen],
        gains=gains,
        n_pool=len(pool),
        n_trained=len(pool) - len(new),
        n_candidates=len(candidates),
        n_directions=n_directions,
        method=posterior.method,
        weighting="given" if given is not None else "equal" if errors is None else "errors",
        notices=tuple(notices),
    )


def _joint_covariance(
    system: TrainedSystem,
    posterior: ExactUncertainty,
    positions: Tensor,
    rows: int,
    seed: int,
    progress: Progress,
) -> tuple[Tensor, int]:
    """Return the covariance of some forces of each of the candidates, and how many of each."""
    geometries = system.queries(positions)
    count = min(geometries.n_motions, max(LEAST_DIRECTIONS, rows // len(positions)))
    directions = force_directions(geometries, system.operator.feature_permutations, count, seed)
    progress(COVARIANCE_STAGE, 0, 1)
    covariance = posterior.projected(positions, directions)
    progress(COVARIANCE_STAGE, 1, 1)
    return covariance, count


def _expected_errors(
    parameters: Parameters,
    positions: Tensor,
    max_memory: int | None,
    seed: int,
    progress: Progress,
    notices: list[str],
) -> Tensor | None:
    """Return the error of the forces of each candidate ``(P,)`` that a committee expects."""
    if parameters.n_train < LEAST_GEOMETRIES:
        notices.append(
            f"With {parameters.n_train} training frames there is no committee to estimate errors, "
            "so all frames of the pool count alike."
        )
        return None
    options = UncertaintyOptions("committee", max_memory, N_MEMBERS, seed)
    committee = CommitteeUncertainty(parameters, options, str(positions.device), progress)
    parts = [committee.deviations(some).forces for some in torch.split(positions, BATCH)]
    return torch.cat(parts).square().sum(dim=(1, 2)).sqrt()


def _sgdml_parameters(force_field: ForceField) -> Parameters:
    parameters = force_field.parameters
    if not isinstance(parameters, Parameters):
        raise OptionError(
            f"Frames are selected by the joint posterior of an sGDML model, but this one is an "
            f"{force_field.kind.label} model. Train an sGDML model on the same frames to select "
            "with; what it selects is of use to either."
        )
    return parameters


def _check_options(n: int, method: str) -> None:
    if n < 1:
        raise OptionError(f"Expected to select at least 1 frame, got {n}.")
    if method not in get_args(SelectionMethod):
        known = ", ".join(get_args(SelectionMethod))
        raise OptionError(f"Unknown method of selection {method!r}; choose one of {known}.")


def _checked_weights(weighting: Weighting | ArrayLike, n_pool: int) -> FloatArray | None:
    """Return the weights that a user gave, or None."""
    if isinstance(weighting, str):
        if weighting not in get_args(Weighting):
            known = ", ".join(get_args(Weighting))
            raise OptionError(f"Unknown weighting {weighting!r}; choose one of {known}.")
        return None
    weights: FloatArray = np.array(weighting, dtype=np.float64)
    usable = weights.shape == (n_pool,) and np.isfinite(weights).all() and (weights >= 0.0).all()
    if not usable or not weights.any():
        raise OptionError(
            f"Expected weights of shape ({n_pool},), one for each frame of the pool, finite, not "
            f"negative and not all zero, got {weights.shape}."
        )
    return weights


def _check_amount(n: int, n_pool: int, n_new: int) -> None:
    if n > n_new:
        trained = n_pool - n_new
        known = f", {trained} of which the model was trained on" if trained else ""
        raise DataError(
            f"Asked for {n} frames, but the pool has {n_pool}{known}. Ask for at most {n_new}, or "
            "give a larger pool."
        )


def _posterior(
    system: TrainedSystem,
    method: SelectionMethod,
    max_memory: int | None,
    seed: int,
    progress: Progress,
    notices: list[str],
) -> ExactUncertainty:
    """Return the posterior given all training frames, or given some."""
    operator = system.operator
    if method == "auto":
        allowed = max_memory or available_memory(operator.device)
        fits = DenseCholesky.required_memory(operator.size, operator.block_size) <= allowed
        method = "exact" if fits and operator.size <= EXACT_LABELS else "landmarks"
    if method == "exact":
        return ExactUncertainty(system, max_memory, progress)
    posterior = LandmarkUncertainty(
        system, max_memory, seed=seed, labels=LANDMARK_LABELS, progress=progress
    )
    notices.append(
        f"The model has {operator.size} training labels, so what it knows is judged by "
        f"{posterior.n_labels} of them: frames near the others may be chosen though they are known."
    )
    return posterior


def _rows_that_fit(allowed: int, n_labels: int) -> int:
    """Return how many rows the joint covariance may have: ``8 m (COPIES m + n) <= allowed``."""
    root = math.sqrt(n_labels**2 + 4 * COPIES * allowed / 8)
    return max(1, min(MOST_ROWS, int((root - n_labels) / (2 * COPIES))))


def _thinned(new: IntArray, most: int, seed: int, notices: list[str]) -> IntArray:
    """Return all candidates, or as many as can be compared, drawn at random."""
    if len(new) <= most:
        return new
    notices.append(
        f"{most} of the {len(new)} frames, drawn at random, were compared; that many fit into the "
        "joint covariance."
    )
    drawn: AnyArray = generator(seed, "pool").choice(new, most, replace=False)
    return np.sort(drawn)
