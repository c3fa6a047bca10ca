"""The state of an unfinished training: one file, from which the training can be resumed.

A safetensors file of arrays with JSON metadata, no pickle, as the model file is
(`docs/model-file.md`). It is replaced atomically, so whatever happens, the last whole state stays.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kraft.core.errors import KraftError, ModelFileError, OptionError
from kraft.core.files import atomic_path
from kraft.core.resuming import require_same_identity
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.models.selection import Choice, Trial
from kraft.models.solver_choice import SolverPlan
from kraft.solvers.state import HistoryPoint, SolverState
from kraft.symmetry.group import as_permutations
from kraft.version import __version__

STATE_VERSION = 1
METADATA_KEY = "kraft-state"
STATE_SUFFIX = ".state.safetensors"

_SOLVER_ARRAYS = ("coefficients", "landmarks")
_METRIC_ARRAYS = ("feature_weights", "feature_mixing")


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Where a training stands.

    Attributes
    ----------
    identity
        What must be the same to resume: name and value, of JSON's types.
    permutations
        ``(S, N)`` group in use.
    choice
        Kernel, length scale and regularization.
    plan
        How the system is solved; None before that is decided.
    solver
        Where the iteration is; None before it starts.
    feature_weights, feature_mixing
        ``(D,)`` weights of the features and ``(D, D)`` how they mix, where they were learned; None
        when they were given, and where nothing mixes.
    """

    identity: Mapping[str, Any]
    permutations: IntArray
    choice: Choice
    plan: SolverPlan | None = None
    solver: SolverState | None = None
    feature_weights: FloatArray | None = None
    feature_mixing: FloatArray | None = None

    def check_identity(self, identity: Mapping[str, Any], path: Path) -> None:
        """Raise OptionError, naming the difference, unless ``identity`` is that of this state."""
        require_same_identity(
            self.identity, identity, path, begun="unfinished training", same="data and options"
        )


def state_path(model: str | os.PathLike[str]) -> Path:
    """Return where the state of the training of a model is kept.

    >>> state_path("runs/aspirin.safetensors").as_posix()
    'runs/aspirin.state.safetensors'
    """
    return Path(model).with_suffix(STATE_SUFFIX)


def saved_state(path: Path | None, identity: Mapping[str, Any]) -> TrainingState | None:
    """Return the state to resume from; None when there is no file.

    Raises
    ------
    OptionError
        When it is the state of another training; the message names the difference.
    ModelFileError
        When the file is damaged.
    """
    if path is None:
        raise OptionError("To resume, name the file of the state (checkpoint).")
    if not path.exists():
        return None
    state = read_state(path)
    state.check_identity(identity, path)
    return state


def write_state(state: TrainingState, path: str | os.PathLike[str]) -> None:
    """Write the state; an interruption leaves the state before, or none, never half of one."""
    arrays: dict[str, AnyArray] = {"permutations": np.ascontiguousarray(state.permutations)}
    content: dict[str, Any] = {
        "state_version": STATE_VERSION,
        "kraft_version": __version__,
        "identity": dict(state.identity),
        "choice": dataclasses.asdict(state.choice),
        "plan": None if state.plan is None else dataclasses.asdict(state.plan),
        "solver": None,
    }
    for name in _METRIC_ARRAYS:
        if getattr(state, name) is not None:
            arrays[name] = np.ascontiguousarray(getattr(state, name))
    if state.solver is not None:
        solver = {f.name: getattr(state.solver, f.name) for f in dataclasses.fields(SolverState)}
        for name in _SOLVER_ARRAYS:
            arrays[name] = np.ascontiguousarray(solver.pop(name))
        solver["history"] = [dataclasses.astuple(point) for point in state.solver.history]
        content["solver"] = solver
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, metadata={METADATA_KEY: json.dumps(content)}))


def read_state(path: str | os.PathLike[str]) -> TrainingState:
    """Read a state.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ModelFileError
        When it is no state, is damaged, or was written by another version of kraft.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no state of an unfinished training {source}.")
    advice = "Delete it and start anew without --resume."
    try:
        with safe_open(source, framework="np") as file:
            content = json.loads((file.metadata() or {})[METADATA_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        version = content["state_version"]
        if version != STATE_VERSION:
            raise ModelFileError(
                f"{source} was written by kraft {content['kraft_version']} as state version "
                f"{version}, this kraft reads version {STATE_VERSION}. Resume with that version of "
                f"kraft, or: {advice}"
            )
        return _state(arrays, content)
    except ModelFileError:
        raise
    except (
        SafetensorError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        KraftError,
        OSError,
    ) as error:
        raise ModelFileError(
            f"{source} is no readable state of a training ({error}). {advice}"
        ) from error


def _state(arrays: dict[str, AnyArray], content: dict[str, Any]) -> TrainingState:
    choice, plan, solver = content["choice"], content["plan"], content["solver"]
    choice["trials"] = tuple(Trial(**trial) for trial in choice["trials"])
    choice["at_edge"] = tuple(choice["at_edge"])
    permutations = arrays["permutations"]
    return TrainingState(
        identity=content["identity"],
        permutations=as_permutations(permutations, permutations.shape[1]),
        choice=Choice(**choice),
        plan=None if plan is None else SolverPlan(**plan),
        solver=None if solver is None else _solver_state(arrays, solver),
        **{name: arrays.get(name) for name in _METRIC_ARRAYS},
    )


def _solver_state(arrays: dict[str, AnyArray], content: dict[str, Any]) -> SolverState:
    content["history"] = tuple(HistoryPoint(*point) for point in content["history"])
    if not np.isfinite(arrays["coefficients"]).all():
        raise ValueError("its coefficients have values that are not finite")
    return SolverState(
        coefficients=arrays["coefficients"], landmarks=arrays["landmarks"], **content
    )
