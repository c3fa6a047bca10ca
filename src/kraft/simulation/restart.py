"""The saved state of a simulation: one file, from which it goes on exactly.

A safetensors file of arrays with JSON metadata, no pickle, replaced as a whole: whatever happens,
the last one stays.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kraft.core.errors import ModelFileError
from kraft.core.files import atomic_path
from kraft.core.resuming import require_same_identity
from kraft.simulation.guards import Reason
from kraft.simulation.motion import Motion
from kraft.simulation.replicas import State
from kraft.version import __version__

RESTART_VERSION = 1
METADATA_KEY = "kraft-simulation"


@dataclass(frozen=True)
class Event:
    """An alarm during a simulation.

    Attributes
    ----------
    replica
        Number of the replica, from 0.
    step
        When it was found.
    time
        The same in ps.
    reason
        What kind of thing.
    message
        What exactly.
    stopped
        Whether the replica was stopped.
    """

    replica: int
    step: int
    time: float
    reason: Reason
    message: str
    stopped: bool


@dataclass(frozen=True, eq=False)
class Restart:
    """Where a simulation stands.

    Attributes
    ----------
    identity
        What must be the same to go on: name and value, of JSON's types.
    state
        Of the replicas.
    sizes
        Bytes of each output file at this time.
    events
        Alarms until now.
    """

    identity: Mapping[str, Any]
    state: State
    sizes: Mapping[str, int]
    events: tuple[Event, ...]

    def check_identity(self, identity: Mapping[str, Any], path: Path) -> None:
        """Raise OptionError, naming the difference, unless ``identity`` is that of this state."""
        require_same_identity(
            self.identity, identity, path, begun="simulation begun", same="model, start and options"
        )


def write_restart(restart: Restart, path: Path) -> None:
    """Write the state; an interruption leaves the one before."""
    state = restart.state
    content = {
        "version": RESTART_VERSION,
        "kraft_version": __version__,
        "identity": dict(restart.identity),
        "step": state.step,
        "replicas": list(state.replicas),
        "random": list(state.random),
        "sizes": dict(restart.sizes),
        "events": [dataclasses.asdict(event) for event in restart.events],
    }
    arrays = {
        field.name: np.ascontiguousarray(getattr(state.motion, field.name))
        for field in dataclasses.fields(Motion)
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, metadata={METADATA_KEY: json.dumps(content)}))


def read_restart(path: Path) -> Restart:
    """Read a state.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ModelFileError
        When it is no state, is damaged, or was written by another version of kraft.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no state of a simulation {path}.")
    advice = "Start anew without --resume (and with --overwrite)."
    try:
        with safe_open(path, framework="np") as file:
            content = json.loads((file.metadata() or {})[METADATA_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if content["version"] != RESTART_VERSION:
            raise ModelFileError(
                f"{path} was written by kraft {content['kraft_version']} as version "
                f"{content['version']}, this kraft reads version {RESTART_VERSION}. Resume with "
                f"that version of kraft, or: {advice}"
            )
        state = State(
            content["step"], tuple(content["replicas"]), Motion(**arrays), tuple(content["random"])
        )
        events = tuple(Event(**event) for event in content["events"])
        return Restart(content["identity"], state, content["sizes"], events)
    except ModelFileError:
        raise
    except (SafetensorError, LookupError, TypeError, ValueError, OSError) as error:
        raise ModelFileError(
            f"{path} is no readable state of a simulation ({error}). {advice}"
        ) from error
