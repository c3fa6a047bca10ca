"""Time kraft's own loop of molecular dynamics, alone and with many replicas.

Request
    ``model``; ``start``: ``.npz`` with ``positions`` in Å; ``timestep`` in fs; ``temperature`` in
    K; ``replicas``: of the batch; ``steps``: of a single run, a batch runs a quarter; ``rounds``;
    ``folder``: for the outputs.

Answer
    Microseconds of a step of one replica, median over the rounds: ``single``, of it ``prediction``
    (inside the loop) and ``overhead`` (the rest), for each thermostat; ``batched``, of one replica
    of the batch. The runs have the default guards, frames and table; their set-up does not count.
    ``prediction_alone``: :meth:`kraft.ForceField.predict` of one geometry again and again.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from exchange import best_time, serve

import kraft
from kraft.models import ForceField
from kraft.simulation import (
    Langevin,
    NoseHooverChain,
    VelocityRescaling,
    VelocityVerlet,
    run_md,
)


class Clock:
    """Sums the time inside predictions."""

    def __init__(self) -> None:
        self.seconds = 0.0
        predict = ForceField.predict

        def timed(*args: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            found = predict(*args, **options)
            self.seconds += time.perf_counter() - begun
            return found

        ForceField.predict = timed  # type: ignore[method-assign]


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Time the loop."""
    force_field = kraft.load(request["model"])
    with np.load(request["start"]) as start:
        positions = start["positions"]
    alone = best_time(lambda: force_field.predict(positions), min_seconds=0.5)["median"]
    step, kelvin = float(request["timestep"]), float(request["temperature"])
    integrators = {
        "langevin": Langevin(step, kelvin),
        "nve": VelocityVerlet(step),
        "rescaling": VelocityRescaling(step, kelvin),
        "nose-hoover": NoseHooverChain(step, kelvin),
    }
    clock, folder = Clock(), Path(request["folder"])

    def microseconds(name: str, n_replicas: int, n_steps: int, seed: int) -> tuple[float, float]:
        """Return those of a step of one replica, and of the prediction in it."""
        clock.seconds = 0.0
        run = run_md(
            force_field,
            positions,
            folder / "run.xyz",
            integrator=integrators[name],
            n_steps=n_steps,
            temperature=kelvin,
            n_replicas=n_replicas,
            seed=seed,
        )
        if run.n_stopped:
            raise SystemExit(f"the simulation was stopped: {run.events}")
        return 1e6 * run.seconds / run.replica_steps, 1e6 * clock.seconds / run.replica_steps

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in (*integrators, "batched")}
    n_steps = int(request["steps"])
    for seed in range(int(request["rounds"])):
        for name in integrators:
            found[name].append(microseconds(name, 1, n_steps, seed))
        batch = int(request["replicas"])
        found["batched"].append(microseconds("langevin", batch, n_steps // 4, seed))
    middle = {name: np.median(np.array(rows), axis=0).tolist() for name, rows in found.items()}
    overheads = {
        name: median(whole - inside for whole, inside in rows) for name, rows in found.items()
    }
    return {
        "prediction_alone": 1e6 * alone,
        "single": {name: middle[name][0] for name in integrators},
        "prediction": {name: middle[name][1] for name in integrators},
        "overhead": {name: overheads[name] for name in integrators},
        "batched": middle["batched"][0],
        "batched_prediction": middle["batched"][1],
    }


if __name__ == "__main__":
    serve(main)
