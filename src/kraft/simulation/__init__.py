"""Simulations with a force field."""

from kraft.simulation.integrators import (
    Langevin,
    NoseHooverChain,
    VelocityRescaling,
    VelocityVerlet,
)
from kraft.simulation.md import MdRun, run_md
from kraft.simulation.nve import NveRun, run_nve
from kraft.simulation.recording import Log
from kraft.simulation.stability import Failure, Stability, check_stability
from kraft.simulation.steering import Steering
from kraft.simulation.watching import Watching

__all__ = [
    "Failure",
    "Langevin",
    "Log",
    "MdRun",
    "NoseHooverChain",
    "NveRun",
    "Stability",
    "Steering",
    "VelocityRescaling",
    "VelocityVerlet",
    "Watching",
    "check_stability",
    "run_md",
    "run_nve",
]
