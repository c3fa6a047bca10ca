"""Model files of either kind: kraft's own, and sgdml's .npz."""

from __future__ import annotations

from pathlib import Path

from kraft.cli.summary import print_notices, print_warning
from kraft.core.errors import ModelFileError
from kraft.data.archive import archive_keys
from kraft.interfaces.sgdml import import_sgdml_model
from kraft.models import ForceField
from kraft.models.force_field import Precision

KRAFT_SUFFIX = ".safetensors"
SGDML_SUFFIX = ".npz"

_ONLY_IN_SGDML_MODELS = "R_d_desc_alpha"


def load_model(path: Path, device: str = "cpu", dtype: Precision = "float64") -> ForceField:
    """Read a model file of either kind; print what a person should know about it.

    Raises
    ------
    FileNotFoundError
        When there is none.
    ModelFileError
        When it is no model.
    """
    if path.suffix != SGDML_SUFFIX:
        force_field = ForceField.load(path, device=device, dtype=dtype)
        if force_field.record.caution:
            print_warning(force_field.record.caution)
        return force_field
    if not path.is_file():
        raise FileNotFoundError(f"There is no model file {path}.")
    if not is_sgdml_model(path):
        raise ModelFileError(
            f"{path} is not a model. Expected one made by `kraft train` ({KRAFT_SUFFIX}) or by "
            "sgdml; the model comes first, the data second."
        )
    imported = import_sgdml_model(path)
    print_notices(imported.notices)
    return imported.force_field.to(device=device, dtype=dtype)


def is_model(path: Path) -> bool:
    """Tell whether a file is a model rather than data, by its suffix and content."""
    return path.suffix == KRAFT_SUFFIX or (path.suffix == SGDML_SUFFIX and is_sgdml_model(path))


def is_sgdml_model(path: Path) -> bool:
    """Tell whether an archive is a model of sgdml."""
    return _ONLY_IN_SGDML_MODELS in archive_keys(path)
