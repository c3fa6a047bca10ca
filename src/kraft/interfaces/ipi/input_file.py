"""The input of i-PI for one molecule, as text that a person can read and change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.data import chemical_symbols
from ase.geometry import cell_to_cellpar

from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray, IntArray

INPUT, START, MODEL, DRIVER, ALARMS = (
    "input.xml",
    "start.xyz",
    "model.safetensors",
    "kraft_driver.py",
    "alarms.xyz",
)
PREFIX = "simulation"
"""What the names of i-PI's outputs begin with."""

THERMOSTATS = ("pile-l", "pile-g", "langevin", "rescaling", "none")
Thermostat = Literal["pile-l", "pile-g", "langevin", "rescaling", "none"]
_NAMES_OF_IPI = {
    "pile-l": "pile_l",
    "pile-g": "pile_g",
    "langevin": "langevin",
    "rescaling": "svr",
}

_BOX = 300.0
"""Å: edge of the box of a molecule alone; i-PI wants one and does not use it."""

PROPERTIES = (
    "step",
    "time{picosecond}",
    "conserved{electronvolt}",
    "temperature{kelvin}",
    "potential{electronvolt}",
    "kinetic_md{electronvolt}",
    "kinetic_cv{electronvolt}",
)
"""Columns of the table; ``kinetic_cv`` is the centroid virial estimator of the kinetic energy."""


@dataclass(frozen=True)
class PathIntegral:
    """How a molecule is simulated.

    Attributes
    ----------
    n_steps
        Time steps in all.
    n_beads
        Beads of the ring polymer; 1 is classical dynamics.
    temperature
        K.
    timestep
        fs.
    thermostat
        ``"pile-l"`` a Langevin thermostat for each normal mode, ``"pile-g"`` the same with global
        velocity rescaling of the centroid (Ceriotti et al. 2010), ``"langevin"`` on the beads,
        ``"rescaling"`` of all velocities, ``"none"`` for constant energy after a thermal start
        (ring-polymer dynamics).
    time_constant
        fs, of the thermostat; for PILE that of the centroid.
    splitting
        ``"obabo"`` or ``"baoab"``.
    frame_interval
        Steps between frames.
    checkpoint_interval
        Steps between checkpoints, a multiple of ``frame_interval``.
    seed
        Of velocities and thermostat.

    Raises
    ------
    OptionError
        When one is out of its range.
    """

    n_steps: int
    n_beads: int = 16
    temperature: float = 300.0
    timestep: float = 0.5
    thermostat: Thermostat = "pile-l"
    time_constant: float = 100.0
    splitting: Literal["obabo", "baoab"] = "obabo"
    frame_interval: int = 20
    checkpoint_interval: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_steps", "n_beads", "frame_interval", "checkpoint_interval"):
            if getattr(self, name) < 1:
                raise OptionError(f"Expected {name} of at least 1, got {getattr(self, name)}.")
        for name in ("temperature", "timestep", "time_constant"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise OptionError(f"Expected a positive {name}, got {getattr(self, name)}.")
        if self.thermostat not in THERMOSTATS:
            raise OptionError(
                f"Unknown thermostat {self.thermostat!r}; choose one of {', '.join(THERMOSTATS)}."
            )
        if self.splitting not in ("obabo", "baoab"):
            raise OptionError(f"Unknown splitting {self.splitting!r}; choose obabo or baoab.")
        if self.seed < 0:
            raise OptionError(f"Expected a seed of at least 0, got {self.seed}.")
        if self.checkpoint_interval % self.frame_interval:
            raise OptionError(
                "Expected steps between checkpoints that are a multiple of those between frames "
                f"({self.frame_interval}), got {self.checkpoint_interval}."
            )


def parameters_text(parameters: Mapping[str, object]) -> str:
    """Return parameters of the driver as i-PI reads them."""
    return f"{{ {', '.join(f'{name}: {value}' for name, value in parameters.items())} }}"


def input_text(run: PathIntegral, parameters: str, extras: tuple[str, ...]) -> str:
    """Return the input file.

    Parameters
    ----------
    run
        What to simulate.
    parameters
        Those of the driver, from :func:`parameters_text`.
    extras
        Names of the extras to write.
    """
    every = f"stride='{run.frame_interval}' flush='{run.checkpoint_interval // run.frame_interval}'"
    trajectory = f"{every} format='xyz' cell_units='angstrom'"
    columns = ", ".join(PROPERTIES)
    written = ""
    if extras:
        written = (
            f"\n    <trajectory filename='extras' {every} extra_type='{','.join(extras)}'> "
            "extras_component_raw(0) </trajectory>"
        )
    return f"""<!-- Made by kraft. Run it in this folder by: i-pi {INPUT} -->
<simulation mode='md' verbosity='low' threading='False' floatformat='%24.16e'
            safe_stride='{run.checkpoint_interval}'>
  <output prefix='{PREFIX}'>
    <properties filename='out' {every}> [ {columns} ] </properties>
    <trajectory filename='pos' {trajectory}> positions{{angstrom}} </trajectory>
    <trajectory filename='xc' {trajectory}> x_centroid{{angstrom}} </trajectory>
    <trajectory filename='vc' {trajectory}> v_centroid{{m/s}} </trajectory>{written}
    <checkpoint filename='checkpoint' stride='{run.checkpoint_interval}' overwrite='False'/>
  </output>
  <total_steps> {run.n_steps} </total_steps>
  <prng> <seed> {run.seed} </seed> </prng>
  <ffdirect name='kraft' pbc='False'>
    <pes> custom </pes>
    <pes_path> {DRIVER} </pes_path>
    <batch_size> {run.n_beads} </batch_size>
    <parameters> {parameters} </parameters>
  </ffdirect>
  <system>
    <initialize nbeads='{run.n_beads}'>
      <file mode='xyz'> {START} </file>
      <velocities mode='thermal' units='kelvin'> {run.temperature!r} </velocities>
    </initialize>
    <forces> <force forcefield='kraft'> </force> </forces>
    <ensemble> <temperature units='kelvin'> {run.temperature!r} </temperature> </ensemble>
    <normal_modes transform='matrix'/>
    <motion mode='dynamics'>
      <fixcom> True </fixcom>
{_dynamics(run)}
    </motion>
  </system>
</simulation>
"""


def _dynamics(run: PathIntegral) -> str:
    mode, thermostat = "nve", ""
    if run.thermostat != "none":
        mode = "nvt"
        name = _NAMES_OF_IPI[run.thermostat]
        constant = f"<tau units='femtosecond'> {run.time_constant!r} </tau>"
        thermostat = f"\n        <thermostat mode='{name}'> {constant} </thermostat>"
    return f"""      <dynamics mode='{mode}' splitting='{run.splitting}'>
        <timestep units='femtosecond'> {run.timestep!r} </timestep>{thermostat}
      </dynamics>"""


def start_text(atomic_numbers: IntArray, positions: FloatArray, cell: FloatArray | None) -> str:
    """Return the start geometry ``(N, 3)`` in Å with its cell as i-PI's XYZ.

    Raises
    ------
    GeometryError
        When a cell does not have its first vector along x and its second in the plane of x and y,
        as i-PI needs it.
    """
    edges = np.array([_BOX] * 3 + [90.0] * 3)
    if cell is not None:
        if np.abs(np.triu(cell, 1)).max() > 1e-10:
            raise GeometryError(
                "i-PI needs a cell with the first vector along x and the second in the plane of x "
                f"and y; the model's is {cell.tolist()} Å. Turn the training data "
                "(ase.Atoms.rotate with rotate_cell=True, or Cell.standard_form) and train again."
            )
        edges = cell_to_cellpar(cell)  # type: ignore[no-untyped-call]
    numbers = " ".join(f"{edge:.10f}" for edge in edges)
    comment = f"# CELL(abcABC): {numbers} cell{{angstrom}} positions{{angstrom}}"
    lines = [str(len(atomic_numbers)), comment]
    lines += [
        f"{chemical_symbols[number]} {' '.join(map(repr, row))}"
        for number, row in zip(atomic_numbers, positions.tolist(), strict=True)
    ]
    return "\n".join(lines) + "\n"


DRIVER_TEXT = '''"""The driver that i-PI loads: kraft must be installed where i-PI is."""

from kraft.interfaces.ipi.driver import KraftDriver

__DRIVER_NAME__ = "kraft"
__DRIVER_CLASS__ = "KraftDriver"
__all__ = ["KraftDriver"]
'''
