"""Which way to the uncertainty of an sGDML model is taken."""

from __future__ import annotations

from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.models.parameters import Parameters
from kraft.models.uncertainty.base import UncertaintyModel, UncertaintyOptions
from kraft.models.uncertainty.committee import LEAST_GEOMETRIES, CommitteeUncertainty
from kraft.models.uncertainty.exact import ExactUncertainty
from kraft.models.uncertainty.landmarks import LandmarkUncertainty
from kraft.models.uncertainty.system import TrainedSystem
from kraft.solvers import DenseCholesky

EXACT_LABELS = 5000
"""Labels up to which exact deviations are the default.

The factorization then takes some seconds, and the deviations of a geometry about ten milliseconds.
Beyond, they cost about a thousand predictions each (200 geometries of aspirin), those of the
committee six to eight.
"""


def uncertainty_model(
    parameters: Parameters,
    options: UncertaintyOptions,
    device: str,
    progress: Progress = silent,
) -> UncertaintyModel:
    """Prepare the predictive uncertainty of an sGDML model.

    Parameters
    ----------
    parameters
        The model, with its training geometries and their coefficients.
    options
        Which method, and its limits. ``"auto"`` is exact up to :data:`EXACT_LABELS` training
        labels where they fit into the memory, and a committee beyond.
    device
        Where to compute.
    progress
        Told of the stages.

    Raises
    ------
    OptionError
        When the model lacks what is needed.
    MemoryLimitError, SolverError
        When the method asked for does not fit, or fails.
    """
    system = TrainedSystem.from_parameters(parameters, device)
    method = options.method
    if method == "auto":
        method = "exact" if _exact_is_cheap(system, options) else "committee"
    if method == "committee":
        return CommitteeUncertainty(parameters, options, device, progress)
    if method == "landmarks":
        return LandmarkUncertainty(system, options.max_memory, seed=options.seed, progress=progress)
    return ExactUncertainty(system, options.max_memory, progress)


def _exact_is_cheap(system: TrainedSystem, options: UncertaintyOptions) -> bool:
    operator = system.operator
    if len(operator.geometries) < LEAST_GEOMETRIES:
        return True
    allowed = options.max_memory or available_memory(operator.device)
    needed = DenseCholesky.required_memory(operator.size, operator.block_size)
    return operator.size <= EXACT_LABELS and needed <= allowed
