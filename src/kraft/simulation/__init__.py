"""Simulations with a force field."""

from kraft.simulation.nve import NveRun, run_nve

__all__ = ["NveRun", "run_nve"]
