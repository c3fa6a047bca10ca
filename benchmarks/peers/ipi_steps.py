"""Time the steps of a simulation by i-PI; runs in kraft's and in sgdml's environment.

Request
    ``folder``: of the simulation; ``input``: its input file; ``ipi``: folder that holds the package
    ``ipi`` and nothing else, for environments that lack it; ``warmup``: steps that do not count.

Answer
    ``seconds``: of each step after the warm-up, outputs left out.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from exchange import serve


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Run the simulation."""
    sys.path.append(request["ipi"])
    from ipi.engine.simulation import Simulation
    from ipi.utils.softexit import softexit

    os.chdir(request["folder"])
    with Path(request["input"]).open(encoding="utf-8") as handle:
        simulation = Simulation.load_from_xml(handle)
    step, seconds = simulation.run_step, []

    def timed(number: int) -> None:
        start = time.perf_counter()
        step(number)
        seconds.append(time.perf_counter() - start)

    simulation.run_step = timed
    simulation.run()
    softexit.cleanup(status="success")  # closes the outputs
    return {"seconds": seconds[request["warmup"] :]}


if __name__ == "__main__":
    serve(handle)
