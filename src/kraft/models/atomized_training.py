"""Training of atomized force fields, from a dataset to a force field."""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from kraft.core.progress import Progress, silent
from kraft.data.dataset import Dataset
from kraft.models.aff import training as atomized
from kraft.models.aff.result import AtomizedResult
from kraft.models.device import check_device
from kraft.models.force_field import ForceField


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
) -> tuple[ForceField, AtomizedResult]:
    """Train an atomized force field (AFF; paper 001): one Gaussian process per set of like atoms.

    Its systems are those of the sets of equivalent atoms, each much smaller than the one of
    :func:`kraft.train`, so it trains in a fraction of the time and the memory, and its uncertainty
    is exact and cheap. What that gives up: its forces are not exactly the gradient of its energy,
    so that dynamics at constant energy drift, and there is no Hessian.

    Parameters
    ----------
    training
        Geometries to learn from.
    validation
        Geometries by which range and nugget are chosen with ``criterion="validation"``, disjoint
        from the training geometries; the error on them is reported in any case.
    kernel
        Name of a radial kernel (the paper's is ``"matern52"``), or ``"auto"`` for the one that the
        criterion likes best.
    length_scale
        Range of the forces' kernel in 1/Å; chosen when None.
    regularization
        Nugget of the forces' kernel; chosen when None.
    permutations
        ``"auto"`` finds the molecule's symmetries in the training geometries; None uses none, so
        that every atom is a set; or an ``(S, N)`` group of permutations, the identity first.
    max_permutations
        Upper bound on the symmetries found.
    criterion
        By which range and nugget are chosen: the profile ``"likelihood"`` of the training forces
        (the paper's), or the force error on the ``"validation"`` geometries or, without any, at
        training geometries left out one by one.
    max_memory
        Bytes that the training may allocate; sets that do not fit are solved iteratively.
    device
        Where to train and predict: ``"cpu"`` or ``"cuda"``.
    seed
        Of every random choice.
    progress
        Told about the stages.

    Returns
    -------
    ForceField
        The trained model; its ``conservative`` is False.
    AtomizedResult
        What was decided and measured on the way.

    Raises
    ------
    DataError
        When the data cannot be trained on; the message names the frames.
    OptionError, SymmetryError
        When an option does not fit the data.
    MemoryLimitError
        When not even the iterative solver fits.
    SolverError
        When a system could not be solved.
    """
    check_device(device)
    parameters, result = atomized.train_aff(
        training,
        validation,
        kernel=kernel,
        length_scale=length_scale,
        regularization=regularization,
        permutations=permutations,
        max_permutations=max_permutations,
        criterion=criterion,
        max_memory=max_memory,
        device=device,
        seed=seed,
        progress=progress,
    )
    return ForceField(parameters, device), result
