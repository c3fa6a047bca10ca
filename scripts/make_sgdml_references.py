"""Make the stored sgdml models and reference predictions that the interoperability tests use.

Run ``python scripts/make_sgdml_references.py`` in an environment with sgdml 1.0.3 (numpy<2) and
ase. It writes to ``tests/interop/data``:

``ethanol_sgdml103.npz``
    a model trained by sgdml 1.0.3 on 30 frames of the ethanol dataset that ships with kraft
    (σ = 10, with symmetries), as sgdml writes it;
``ethanol_sgdml103_energies.npz``
    the same from 20 frames with pointwise energy constraints (``--E_cstr``);
``ethanol_sgdml103_reference.npz``
    predictions of both on 5 other frames, in the models' units (kcal/mol, kcal/mol/Å);
``reference_models.npz``
    predictions of two published model files (benzene by sgdml 0.2.0.dev, water dimer by
    0.4.2.dev0) at geometries constructed here. The model files themselves are not ours: they are
    looked for in the folder ``models`` of ``KRAFT_REFERENCE_DATA`` (default ``../shared``), and
    where they are missing this file is left alone.

All predictions come from sgdml's NumPy path with one process, in double precision throughout.
``*_positions`` are in Å. Models without unit keys predict in the unit of the data they were
trained on; by the convention of the format, and by sgdml's ASE calculator, that is kcal/mol and Å.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from sgdml import __version__ as sgdml_version
from sgdml.predict import GDMLPredict
from sgdml.train import GDMLTrain
from sgdml.utils import io

ROOT = Path(__file__).resolve().parents[1]
SEED = 20261120
LENGTH_SCALE = 10
FRAMES_FORCES = np.arange(0, 1800, 60)  # 30 frames
FRAMES_ENERGIES = np.arange(30, 1830, 90)  # 20 frames
FRAMES_TEST = np.array([7, 411, 859, 1303, 1987])
GEOMETRIES = 5
NOISE = 0.04  # Å


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, default=default_dataset())
    parser.add_argument("--output", type=Path, default=ROOT / "tests" / "interop" / "data")
    arguments = parser.parse_args()
    if sgdml_version != "1.0.3":
        raise SystemExit(f"the references are of sgdml 1.0.3, this environment has {sgdml_version}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    make_ethanol(arguments.dataset, arguments.output)
    folder = Path(os.environ.get("KRAFT_REFERENCE_DATA") or ROOT.parent / "shared") / "models"
    if folder.is_dir():
        make_published(folder, arguments.output)
    else:
        print(f"no models in {folder}: reference_models.npz is left as it is")


def default_dataset() -> Path:
    return ROOT / "src" / "kraft" / "datasets" / "ethanol_gfn2.npz"


def make_ethanol(dataset_path: Path, output: Path) -> None:
    """Train two models on ethanol and store them with their predictions."""
    with np.load(dataset_path) as archive:
        dataset = {key: archive[key] for key in archive.files}
    for key in ("R", "E", "F"):
        dataset[key] = dataset[key].astype(np.float64)
    trainer = GDMLTrain(max_processes=1)
    test = dataset["R"][FRAMES_TEST]
    stored: dict[str, Any] = {"indices": FRAMES_TEST, "positions": test}
    for name, frames, constraints in (
        ("ethanol_sgdml103", FRAMES_FORCES, False),
        ("ethanol_sgdml103_energies", FRAMES_ENERGIES, True),
    ):
        model = trainer.train(make_task(trainer, dataset, frames, constraints))
        path = output / f"{name}.npz"
        np.savez_compressed(path, **model)  # exactly what sgdml's command line does
        energies, forces = predict(path, test)
        suffix = "_constrained" if constraints else ""
        stored[f"energies{suffix}"], stored[f"forces{suffix}"] = energies, forces
        report(name, len(model["perms"]), energies - dataset["E"][FRAMES_TEST, 0], forces)
    np.savez_compressed(output / "ethanol_sgdml103_reference.npz", **stored)


def make_task(
    trainer: GDMLTrain, dataset: dict[str, Any], frames: np.ndarray, constraints: bool
) -> dict[str, Any]:
    """Let sgdml make its task: asked for as many frames as there are, it takes them in order."""
    training = {**dataset, **{key: dataset[key][frames] for key in ("R", "E", "F")}}
    task: dict[str, Any] = trainer.create_task(
        training,
        len(frames),
        training,
        0,
        sig=LENGTH_SCALE,
        use_E_cstr=constraints,
    )
    task["idxs_train"] = frames
    task["md5_train"] = task["md5_valid"] = io.dataset_md5(dataset)
    return task


def make_published(folder: Path, output: Path) -> None:
    """Store what sgdml 1.0.3 predicts with published models at geometries of our own."""
    stored: dict[str, Any] = {}
    for name, file, atoms in (
        ("benzene", "benzene_pbe_ts_sgdml_train1000_sym12.npz", molecule("C6H6")),
        ("water_dimer", "water_dimer_sgdml_train300_sym8.npz", water_dimer()),
    ):
        generator = np.random.default_rng(SEED)
        noise = generator.normal(scale=NOISE, size=(GEOMETRIES, len(atoms), 3))
        noise[0] = 0.0
        positions = atoms.positions + noise
        with np.load(folder / file) as archive:
            if not np.array_equal(archive["z"], atoms.numbers):
                raise SystemExit(f"{file} is not a model of {atoms.symbols} in this order")
        energies, forces = predict(folder / file, positions)
        stored[f"{name}_file"] = file
        stored[f"{name}_positions"] = positions
        stored[f"{name}_energies"] = energies
        stored[f"{name}_forces"] = forces
        report(name, 0, energies - energies[0], forces)
    np.savez_compressed(output / "reference_models.npz", **stored)


def water_dimer() -> Atoms:
    """Two water molecules 2.9 Å apart (O...O), the first one's hydrogen towards the second."""
    length, half_angle = 0.96, np.deg2rad(104.5 / 2)
    donor = [[0, 0, 0], [length, 0, 0], [length * np.cos(2 * half_angle), 0.929, 0]]
    plane = np.array([np.cos(half_angle), 0.0, np.sin(half_angle)]) * length
    acceptor = np.array([2.9, 0, 0]) + np.array([[0, 0, 0], plane, plane * [1, 1, -1]])
    return Atoms("OH2OH2", positions=np.vstack([donor, acceptor]))


def predict(path: Path, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict with sgdml's NumPy path: energies (B,) and forces (B, N, 3)."""
    with np.load(path, allow_pickle=True) as archive:
        model = {key: archive[key] for key in archive.files}
    predictor = GDMLPredict(model, max_processes=1)
    energies, forces = predictor.predict(positions.reshape(len(positions), -1))
    return energies, forces.reshape(positions.shape)


def report(name: str, n_permutations: int, energies: np.ndarray, forces: np.ndarray) -> None:
    symmetries = f"{n_permutations} permutations, " if n_permutations else ""
    print(
        f"{name}: {symmetries}energies {np.array2string(energies, precision=3)} kcal/mol, "
        f"mean force component {np.abs(forces).mean():.2f} kcal/mol/Å"
    )


if __name__ == "__main__":
    main()
