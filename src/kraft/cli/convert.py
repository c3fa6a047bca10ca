"""``kraft convert``: data between formats, models between kraft and sgdml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kraft.cli.console import out
from kraft.cli.model_files import KRAFT_SUFFIX, SGDML_SUFFIX, is_model, load_model
from kraft.cli.options import DATA_GROUP, DataOptions, Flag
from kraft.cli.outputs import check_output, note_written
from kraft.cli.summary import counted, print_notices
from kraft.core.errors import OptionError
from kraft.core.memory import format_bytes
from kraft.data import Units, write
from kraft.interfaces.sgdml import write_sgdml_model


def convert(
    source: Path,
    target: Path,
    /,
    *,
    overwrite: Annotated[bool, Flag] = False,
    units: Annotated[str | None, Parameter(group=DATA_GROUP)] = None,
    reading: DataOptions = DataOptions(),  # noqa: B008
) -> None:
    """Convert data (to .npz, .xyz) or a model (sgdml's .npz to .safetensors and back).

    Parameters
    ----------
    source
        Reference data or a model.
    target
        File to write; its suffix says the format.
    overwrite
        Replace a file that is there already.
    units
        Units in the new file of data, for example kcal/mol; by default those of the source in
        .npz, eV and Å in .xyz.
    """
    if is_model(source):
        _convert_model(source, target, overwrite)
    else:
        check_output(target, suffixes=(SGDML_SUFFIX, ".xyz", ".extxyz"), overwrite=overwrite)
        dataset = reading.read(source)
        print_notices(dataset.notices)
        write(dataset, target, None if units is None else Units.parse(units))
        out.print(
            f"{counted(len(dataset), 'frame')} of {dataset.formula}"
            f"{'' if dataset.energies is not None else ', without energies'}."
        )
    note_written(target)
    out.print(f"Wrote {target} ({format_bytes(target.stat().st_size)}).", soft_wrap=True)


def _convert_model(source: Path, target: Path, overwrite: bool) -> None:
    if source.suffix == target.suffix:
        raise OptionError(
            f"{source.name} is a {source.suffix} model already. A {KRAFT_SUFFIX} model converts to "
            f"sgdml's {SGDML_SUFFIX}, and that to {KRAFT_SUFFIX}."
        )
    check_output(target, suffixes=(KRAFT_SUFFIX, SGDML_SUFFIX), overwrite=overwrite)
    force_field = load_model(source)
    if target.suffix == SGDML_SUFFIX:
        print_notices(write_sgdml_model(force_field, target))
    else:
        force_field.save(target)
    out.print(repr(force_field).strip("<>"), markup=False)
