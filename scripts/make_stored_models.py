"""Make the stored model files of the current format version and their reference predictions.

Run ``OMP_NUM_THREADS=1 python scripts/make_stored_models.py tests/models/data`` once for every
format version, never again: files of each version must load, with the same predictions, for ever.
The first file is a trained and calibrated model of ten frames of the embedded ethanol; the second
has every optional part (a cell, energy coefficients, descriptors in place of training geometries);
the third is an atomized force field of ten frames, calibrated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import kraft
from kraft.data.units import Units
from kraft.models.model_file import FORMAT_VERSION
from kraft.models.parameters import Parameters, Record

DATASET = Path(kraft.__file__).with_name("datasets") / "ethanol_gfn2.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder

    dataset = kraft.read(DATASET)
    force_field, _ = kraft.train(
        dataset.subset(range(0, 2000, 200)),
        kernel="matern52",
        length_scale=10.0,
        regularization=1e-10,
        permutations=kraft.find_permutations(
            dataset.positions[::20], dataset.atomic_numbers
        ).permutations,
    )
    some = dataset.positions[[3, 777, 1999]]
    others = dataset.subset(range(50, 2000, 100))
    store(folder, "ethanol", force_field.calibrated(others), some)
    atomized, _ = kraft.train_aff(
        dataset.subset(range(0, 2000, 200)),
        length_scale=10.0,
        regularization=1e-8,
        permutations=force_field.permutations,
    )
    store(folder, "atomized", atomized.calibrated(others), some)

    rng = np.random.default_rng(0)
    water = np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.5], [0.0, -0.76, -0.5]])
    parameters = Parameters(
        atomic_numbers=np.array([8, 1, 1]),
        permutations=np.array([[0, 1, 2], [0, 2, 1]]),
        kernel="matern72",
        length_scale=2.5,
        regularization=1e-8,
        feature_weights=np.array([1.0, 1.0, 0.5]),
        training_descriptors=rng.uniform(0.5, 1.2, size=(4, 3)),
        feature_coefficients=rng.normal(size=(4, 3)),
        energy_offset=-76.4,
        energy_coefficients=rng.normal(size=4),
        cell=np.array([[6.0, 0.0, 0.0], [0.3, 7.0, 0.0], [0.0, 0.2, 8.0]]),
        units=Units("kcal/mol", "Å"),
        record=Record(name="water in a box", train_indices=(4, 8), seed=3, kraft_version="0.1.0"),
    )
    periodic = kraft.ForceField(parameters)
    store(folder, "periodic", periodic, water + 0.05 * rng.normal(size=(3, 3, 3)))


def store(folder: Path, name: str, force_field: kraft.ForceField, positions: np.ndarray) -> None:
    stem = f"{name}_format{FORMAT_VERSION}"
    model, predictions = folder / f"{stem}.safetensors", folder / f"{stem}_predictions.npz"
    if model.exists():
        raise SystemExit(f"{model} exists; stored files are never made again.")
    force_field.save(model)
    arrays = {"positions": positions, **force_field.predict(positions)._asdict()}
    if force_field.conservative:
        arrays["hessian"] = force_field.hessian(positions[0])
    if force_field.calibration is not None:
        arrays |= force_field.predict(positions, uncertainty=True)._asdict()
    np.savez_compressed(predictions, **arrays)


if __name__ == "__main__":
    main()
