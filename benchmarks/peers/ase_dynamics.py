"""Time molecular dynamics by ASE with kraft's or sgdml's calculator; runs in either's environment.

Request
    ``calculators``: names of :data:`CALCULATORS`; ``model``: its file; ``start``: ``.npz`` with
    ``numbers``, ``positions`` in Å and ``velocities`` in ASE's units; ``timestep`` in fs;
    ``steps``: of each round; ``seconds``: rounds go on for at least so long.

Answer
    For each calculator ``microseconds``, of a step, the median round, and ``best``; ``energies``:
    potential energies in eV of the first steps, from the start on; ``settings``.

The calculators take turns, a round each, so that all see the machine in the same states.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from exchange import serve

COMPARED = 10


def kraft_calculator(model: str) -> Any:
    """Return kraft's calculator, as its documentation shows it."""
    import kraft

    return kraft.KraftCalculator(model)


def sgdml_calculator(model: str) -> Any:
    """Return sgdml's calculator, as its documentation shows it."""
    from sgdml.intf.ase_calc import SGDMLCalculator
    from sgdml.predict import GDMLPredict

    # sgdml keeps what it found best in a file, keyed without the number of permutations
    GDMLPredict._load_cached_bmark_result = lambda *_: None
    GDMLPredict._save_cached_bmark_result = lambda *_: None
    return SGDMLCalculator(model)


def sgdml_one_process(model: str) -> Any:
    """Return sgdml's calculator with a predictor without worker processes."""
    from sgdml.predict import GDMLPredict

    calculator = sgdml_calculator(model)
    with np.load(model, allow_pickle=True) as archive:
        content = {key: archive[key] for key in archive.files}
    calculator.gdml_predict = GDMLPredict(content, max_processes=1)
    return calculator


def sgdml_torch(model: str) -> Any:
    """Return sgdml's calculator on its torch path."""
    from sgdml.intf.ase_calc import SGDMLCalculator

    return SGDMLCalculator(model, use_torch=True)


CALCULATORS: dict[str, Callable[[str], Any]] = {
    "kraft": kraft_calculator,
    "sgdml": sgdml_calculator,
    "sgdml, one process": sgdml_one_process,
    "sgdml, torch": sgdml_torch,
}


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Time the calculators."""
    runs = {name: Dynamics(name, request) for name in request["calculators"]}
    energies = {name: run.compared_energies() for name, run in runs.items()}
    end = time.perf_counter() + request["seconds"]
    rounds: dict[str, list[float]] = {name: [] for name in runs}
    while time.perf_counter() < end or min(map(len, rounds.values())) < 3:
        for name, run in runs.items():
            rounds[name].append(run.round(int(request["steps"])))
    return {
        name: {
            "microseconds": 1e6 * median(rounds[name]),
            "best": 1e6 * min(rounds[name]),
            "energies": energies[name],
            "settings": run.settings(),
        }
        for name, run in runs.items()
    }


class Dynamics:
    """A molecule that moves at constant energy."""

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        with np.load(request["start"]) as start:
            self._start = {key: start[key] for key in start.files}
        self._atoms = Atoms(self._start["numbers"])
        self._atoms.calc = CALCULATORS[name](request["model"])
        self._timestep = float(request["timestep"]) * units.fs
        self._rewind()

    def _rewind(self) -> None:
        self._atoms.positions = self._start["positions"]
        self._atoms.set_velocities(self._start["velocities"])
        self._dynamics = VelocityVerlet(self._atoms, self._timestep)

    def compared_energies(self) -> list[float]:
        """Return the potential energies of the first steps, and go back to the start."""
        energies = []
        for _ in range(COMPARED):
            energies.append(float(np.ravel(self._atoms.get_potential_energy())[0]))
            self._dynamics.run(1)
        self._rewind()
        return energies

    def round(self, n_steps: int) -> float:
        """Return the seconds of a step of a round."""
        begun = time.perf_counter()
        self._dynamics.run(n_steps)
        return (time.perf_counter() - begun) / n_steps

    def settings(self) -> str:
        """Return what the calculator chose."""
        predictor = getattr(self._atoms.calc, "gdml_predict", None)
        if not hasattr(predictor, "num_workers"):  # kraft's, or sgdml's torch path
            return ""
        return f"workers {predictor.num_workers}, chunk {predictor.chunk_size}"


if __name__ == "__main__":
    serve(main)
