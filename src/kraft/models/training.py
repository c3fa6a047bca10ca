"""Training: from a dataset to a force field, every decision on record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import ArrayLike

from kraft.core.progress import Progress, silent
from kraft.data.dataset import Dataset
from kraft.descriptors.feature_functions import INVERSE
from kraft.models.checkpoint import TrainingState, saved_state
from kraft.models.device import check_device
from kraft.models.force_field import ForceField, Precision
from kraft.models.metric import MetricDecision, MetricOptions, choose_with_metric
from kraft.models.model_making import make_model
from kraft.models.objective import TrainingArrays
from kraft.models.observer import Observer, Unobserved
from kraft.models.preparation import checked
from kraft.models.raising import solve_chosen
from kraft.models.run_control import RunControl
from kraft.models.selection import Request, choose
from kraft.models.solver_options import SolverName, SolverOptions, check_stop_rule
from kraft.models.training_notices import training_notices
from kraft.models.training_request import TrainingRequest
from kraft.models.training_result import Clock, TrainingResult
from kraft.symmetry import SymmetryResult

MAX_IN_ROUNDING_ERROR = 50
"""Training geometries on which the error of single precision is measured."""

CHECKPOINT_INTERVAL = 60.0
"""Seconds between saved states."""


def train(
    training: Dataset,
    validation: Dataset | None = None,
    *,
    kernel: str = "auto",
    length_scale: float | None = None,
    regularization: float | None = None,
    permutations: Literal["auto"] | ArrayLike | None = "auto",
    max_permutations: int | None = None,
    feature_weights: Literal["auto", "learned"] | ArrayLike | None = "auto",
    feature_mixing: ArrayLike | None = None,
    metric_options: MetricOptions = MetricOptions(),  # noqa: B008
    features: ArrayLike | None = None,
    feature_function: str = INVERSE.name,
    energy_weight: float = 0.0,
    solver: SolverName = "auto",
    solver_options: SolverOptions = SolverOptions(),  # noqa: B008
    max_memory: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_interval: float = CHECKPOINT_INTERVAL,
    resume: bool = False,
    device: str = "cpu",
    dtype: Precision = "float64",
    seed: int = 0,
    progress: Progress = silent,
    observer: Observer = Unobserved(),  # noqa: B008
) -> tuple[ForceField, TrainingResult]:
    """Train a symmetric, energy-conserving force field (sGDML; papers 002 and 000).

    Parameters
    ----------
    training
        Geometries to learn from.
    validation
        Geometries by which hyper-parameters are chosen; disjoint from the training geometries.
        Without them some of the training geometries are held out of the search or, where they are
        few, the leave-one-geometry-out error is used.
    kernel
        ``"matern52"`` (the papers'), ``"matern72"``, ``"gaussian"``, or ``"auto"``.
    length_scale
        In units of the features, 1/Å for inverse distances; chosen when None.
    regularization
        Added to the diagonal of the kernel matrix (the papers use 1e-10); chosen when None.
    permutations
        ``"auto"`` finds the molecule's symmetries in the training geometries; None uses none
        (GDML); or an ``(S, N)`` group of permutations, the identity first.
    max_permutations
        Upper bound on the symmetries found.
    feature_weights
        ``(D,)`` weight of every feature, equal for symmetric ones; None for one each. ``"learned"``
        learns them from the training geometries and takes them if they are better than equal ones
        (`docs/metric.md`); so does ``"auto"``, unless a length scale or a regularization was given
        or the geometries are too few to learn from.
    feature_mixing
        ``(D, D)`` symmetric matrix that mixes the weighted features and commutes with the
        symmetries; None for the identity, or for one that is learned with the weights.
    metric_options
        How weights and mixing are learned.
    features
        ``(D,)`` the pairs of atoms whose distances are features, in ascending order, counted in
        that of ``numpy.triu_indices(N, 1)``: a reduced descriptor (paper 003). Whole orbits of the
        symmetries must be kept. None keeps all.
    feature_function
        What makes a feature of a distance, a key of
        :data:`kraft.descriptors.feature_functions.FEATURE_FUNCTIONS`: ``"inverse"`` (1/r, the
        papers'), ``"inverse-sqrt"``, ``"log"``, ...
    energy_weight
        Weight of the energies among the labels; 0 learns from forces only, as the papers do.
    solver
        ``"dense"`` factorizes the kernel matrix, ``"iterative"`` solves by preconditioned conjugate
        gradients in little memory, ``"auto"`` chooses; overrides that of ``solver_options``.
    solver_options
        Preconditioner, tolerance, stopping rule, limits.
    max_memory
        Bytes that the solver may allocate; overrides that of ``solver_options``.
    checkpoint
        File to keep the state of the training in. It stays when the training is done, for the
        model is not saved yet: delete it afterwards.
    checkpoint_interval
        Seconds between states while the iterative solver runs.
    resume
        Go on from the state in ``checkpoint``, if there is one; data and options must be the same
        as before, except for tolerance, stopping rule and limits.
    device
        Where to train and predict: ``"cpu"`` or ``"cuda"``.
    dtype
        Precision of the force field's predictions; training is always in float64.
    seed
        Of every random choice.
    progress
        Told about the stages (see :class:`kraft.core.progress.Progress`).
    observer
        Told about the iterations, and may stop them (see :mod:`kraft.models.observer`).

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
        When an option does not fit the data, or the state to resume from; when features are kept
        without others that a symmetry exchanges them with.
    MemoryLimitError
        When the system would not fit, before it is built.
    SolverError
        When no solution as accurate as asked for was found. A regularization that rounding makes
        too small is raised, and a notice tells of it, unless it was given.
    UnfinishedError
        When the time limit was reached, or the observer stopped the run.
    """
    clock = Clock()
    given = Request(kernel, length_scale, regularization)
    asked = TrainingRequest(
        given,
        permutations,
        max_permutations,
        feature_weights,
        feature_mixing,
        features,
        feature_function,
        energy_weight,
        device,
        seed,
        metric_options,
    )
    options = solver_options.overridden(solver, max_memory)
    control = RunControl.of(options, checkpoint, checkpoint_interval, clock.started, observer, seed)
    check_device(device)
    check_stop_rule(options, validation)
    report = checked(training, validation)
    identity = asked.identity(training, validation, options)
    saved = saved_state(control.checkpoint, identity) if resume else None
    clock.lap("checks")
    state, symmetry, arrays, metric = _decide(
        asked, training, validation, saved, identity, control.limited(progress), clock
    )
    operator, solution, state = solve_chosen(
        arrays, state, asked.parameters, options, control, progress
    )
    clock.lap("solution")
    made = make_model(training, validation, state, arrays, operator, solution, device, seed)
    model = ForceField(made.parameters, device, dtype)
    rounding_error = model.rounding_error(training.positions[:MAX_IN_ROUNDING_ERROR])
    clock.lap("energy_offset")
    return model, TrainingResult(
        choice=state.choice,
        permutations=state.permutations,
        symmetry=symmetry,
        plan=solution.plan,
        outcome=solution.outcome,
        energy_offset=made.energy_offset,
        valid_force_mae=made.valid_force_mae,
        rounding_error=rounding_error,
        report=report,
        notices=training_notices(
            training, made, state.choice, solution.outcome, rounding_error, arrays.descriptor
        )
        + (() if metric is None or not asked.demands_metric else metric.notices),
        timings=clock.timings(solution.outcome),
        metric=metric,
    )


def _decide(
    asked: TrainingRequest,
    training: Dataset,
    validation: Dataset | None,
    saved: TrainingState | None,
    identity: Mapping[str, Any],
    progress: Progress,
    clock: Clock,
) -> tuple[TrainingState, SymmetryResult | None, TrainingArrays, MetricDecision | None]:
    """Find symmetries, hyper-parameters and metric, or take those of the saved state."""
    if saved is not None:
        group, symmetry = saved.permutations, None
    else:
        group, symmetry = asked.group(training, progress)
    clock.lap("symmetry")
    arrays, metric = asked.arrays(training, validation, group, saved), None
    state = saved
    if state is None and asked.learns_metric(arrays):
        metric = choose_with_metric(
            arrays,
            asked.parameters,
            seed=asked.seed,
            progress=progress,
            options=asked.metric_options,
        )
        arrays = metric.arrays
        state = TrainingState(
            identity,
            group,
            metric.choice,
            feature_weights=arrays.feature_weights,
            feature_mixing=arrays.feature_mixing,
        )
    elif state is None:
        choice = choose(arrays, asked.parameters, seed=asked.seed, progress=progress)
        state = TrainingState(identity, group, choice)
    clock.lap("choice")
    return state, symmetry, arrays, metric
