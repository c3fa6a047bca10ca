"""Flags that several commands share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from cyclopts import Group, Parameter
from threadpoolctl import threadpool_limits

from kraft.core.errors import OptionError
from kraft.data import Dataset, Units, read
from kraft.models.device import check_device

DATA_GROUP = Group("Reading data", sort_key=50)
COMPUTE_GROUP = Group("Computing", sort_key=60)
RESULT_GROUP = Group("Results", sort_key=70)

Flag = Parameter(negative="")
"""A switch without a ``--no-`` twin."""

_MEMORY = re.compile(r"([0-9]*\.?[0-9]+)\s*([KMGT]?)(I?)B?", flags=re.IGNORECASE)


@Parameter(name="*", group=DATA_GROUP)
@dataclass(frozen=True)
class DataOptions:
    """How to read a file of reference data."""

    energy_key: Annotated[
        str | None, Parameter(help="Name of the energies in the file, where not the usual one.")
    ] = None
    forces_key: Annotated[
        str | None, Parameter(help="Name of the forces in the file, where not the usual one.")
    ] = None
    energy_unit: Annotated[
        str | None,
        Parameter(help="Unit of the energies where the file does not say: eV, kcal/mol, hartree …"),
    ] = None
    length_unit: Annotated[
        str | None, Parameter(help="Unit of the positions where the file does not say: Å or bohr.")
    ] = None

    def read(self, path: Path) -> Dataset:
        """Read reference data."""
        return read(
            path,
            energy_key=self.energy_key,
            forces_key=self.forces_key,
            energy_unit=self.energy_unit,
            length_unit=self.length_unit,
        )


@Parameter(name="*", group=COMPUTE_GROUP)
@dataclass(frozen=True)
class ComputeOptions:
    """Where and how to compute."""

    device: Annotated[str, Parameter(help="cpu, cuda or cuda:1.")] = "cpu"
    dtype: Annotated[Literal["float64", "float32"], Parameter(help="Precision of predictions.")] = (
        "float64"
    )
    threads: Annotated[
        int | None, Parameter(help="Processor threads to use; those that torch finds by default.")
    ] = None

    def apply(self) -> None:
        """Check the device and set the number of threads of this process."""
        check_device(self.device)
        if self.threads is not None:
            if self.threads < 1:
                raise OptionError(f"Expected at least 1 thread, got {self.threads}.")
            torch.set_num_threads(self.threads)
            threadpool_limits(self.threads)  # NumPy and SciPy bring a BLAS of their own each


@Parameter(name="*", group=RESULT_GROUP)
@dataclass(frozen=True)
class ResultOptions:
    """How results are shown and where figures go."""

    units: Annotated[
        str | None,
        Parameter(help="Units to show: eV, meV, kcal/mol, kJ/mol, hartree …; the data's own."),
    ] = None
    json: Annotated[Path | None, Parameter(help="File to write all figures to, for programs.")] = (
        None
    )

    def units_for(self, default: Units) -> Units:
        """Return the units to show."""
        return default if self.units is None else Units.parse(self.units)


def parse_memory(text: str) -> int:
    """Return the bytes that ``8GB``, ``500 MB``, ``1.5GiB`` or ``8g`` means.

    Raises
    ------
    OptionError
        When the text is no amount of memory.

    Examples
    --------
    >>> parse_memory("8GB"), parse_memory("1KiB")
    (8000000000, 1024)
    """
    match = _MEMORY.fullmatch(text.strip())
    amount = 0 if match is None else _bytes(*match.groups())
    if amount <= 0:
        raise OptionError(f"Expected an amount of memory such as 8GB or 500MB, got {text!r}.")
    return amount


def _bytes(number: str, prefix: str, binary: str) -> int:
    exponent = " KMGT".index(prefix.upper() or " ")
    return int(float(number) * float(1024 if binary else 1000) ** exponent)
