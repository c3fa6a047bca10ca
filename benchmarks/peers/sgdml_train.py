"""Train sgdml on exactly given frames, as ``sgdml all`` would; runs in sgdml's environment.

Request
    ``dataset``: sGDML ``.npz``, kcal/mol and Å; ``train_indices``, ``valid_indices`` (may be empty
    when one length scale is given); ``length_scales``: integers, ascending; ``regularization``
    (default 1e-10); ``use_symmetries`` (default true); ``use_energies`` (default true: the
    integration constant; forces alone enter the fit in sgdml's default, and here);
    ``energy_constraints`` (default false; sgdml's ``--E_cstr``);
    ``test_dataset`` (default: ``dataset``), ``test_indices`` (default: all frames, only with a
    ``test_dataset``; an empty list: no test); ``model``: where the selected model is written;
    ``processes`` (default 2); ``torch_assembly`` (default true, faster on two cores): sgdml's
    ``--torch``; ``max_memory`` in GiB; ``torch_factorization`` (default false): the Cholesky
    factorization by torch instead of SciPy, whose threaded one ends with a segmentation fault on
    some machines when the matrix has more than about 30 000 rows.

Answer
    ``model``, ``length_scale``, ``n_permutations``, ``validation`` (a row per length scale
    tried), ``test`` (``energy_mae``, ``energy_rmse``, ``force_mae``, ``force_rmse`` in kcal/mol
    and kcal/mol/Å; the energy ones None without energies), ``solver`` and ``seconds``:
    ``symmetry``, ``assembly``, ``solve`` (without assembly), ``integration_constant``,
    ``validation`` and ``total`` (from the data in memory to the selected model, test excluded).

``GDMLTrain.create_task`` draws its own sample. It takes all frames, in their order, when asked for
as many as there are, so it is given datasets that hold the wanted frames and nothing else; the
indices and fingerprints of the full dataset are put into the task afterwards. Length scales are
tried in ascending order until the validation force RMSE rises, and the smallest RMSE wins: what
sgdml 1.0.3's command line does. Its file of cached parallel settings (inside the package, keyed
without the number of permutations) is neither read nor written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.linalg
import torch
from exchange import serve
from sgdml.predict import GDMLPredict
from sgdml.solvers.analytic import Analytic
from sgdml.train import GDMLTrain
from sgdml.utils import io, perm

BULK = 1000  # frames per prediction in sgdml's own validation and test


def main(request: dict[str, Any]) -> dict[str, Any]:
    GDMLPredict._load_cached_bmark_result = lambda *_: None
    GDMLPredict._save_cached_bmark_result = lambda *_: None
    np.random.seed(0)  # noqa: NPY002  sgdml draws from the global generator
    if request.get("torch_factorization"):
        scipy.linalg.cho_factor = _factorize_by_torch
    dataset = load_dataset(request["dataset"])
    train = np.asarray(request["train_indices"], dtype=int)
    valid = np.asarray(request.get("valid_indices", []), dtype=int)
    length_scales = sorted(int(value) for value in request["length_scales"])
    if len(length_scales) > 1 and not len(valid):
        raise ValueError("several length scales need valid_indices to choose between them")
    processes = int(request.get("processes", 2))
    use_torch = bool(request.get("torch_assembly", True))
    trainer = GDMLTrain(
        max_memory=request.get("max_memory"), max_processes=processes, use_torch=use_torch
    )

    seconds = {"symmetry": 0.0, "assembly": 0.0, "solve": 0.0, "integration_constant": 0.0}
    with (
        timed(perm, "find_perms", seconds, "symmetry"),
        timed(GDMLTrain, "_assemble_kernel_mat", seconds, "assembly"),
        timed(Analytic, "solve", seconds, "solve"),
        timed(GDMLTrain, "_recov_int_const", seconds, "integration_constant"),
    ):
        start = time.perf_counter()
        task = make_task(trainer, dataset, train, valid, request)
        validation: list[dict[str, float]] = []
        best: dict[str, Any] = {}
        for length_scale in length_scales:
            model = trainer.train(dict(task, sig=length_scale))
            if len(length_scales) == 1:
                best = model
                break
            row = errors(model, subset(dataset, valid), processes)
            model["f_err"] = {"mae": row["force_mae"], "rmse": row["force_rmse"]}
            validation.append({"length_scale": length_scale, **row})
            if row["force_rmse"] == min(r["force_rmse"] for r in validation):
                best = model
            elif row["force_rmse"] > validation[-2]["force_rmse"]:
                break
        seconds["total"] = time.perf_counter() - start
    seconds["solve"] -= seconds["assembly"]
    seconds["validation"] = sum(row["seconds"] for row in validation)
    np.savez_compressed(request["model"], **best)

    tested = load_dataset(request["test_dataset"]) if request.get("test_dataset") else dataset
    chosen = request.get("test_indices")
    if chosen is None and tested is dataset:
        raise ValueError("test_indices are needed when the test frames are in the dataset")
    if chosen is not None:
        tested = subset(tested, np.asarray(chosen, dtype=int))
    return {
        "model": request["model"],
        "length_scale": int(best["sig"]),
        "n_permutations": len(best["perms"]),
        "solver": str(best["solver_name"]),
        "validation": validation,
        "test": errors(best, tested, processes) if len(tested["R"]) else None,
        "seconds": seconds,
        "torch_threads": torch.get_num_threads(),
    }


def _factorize_by_torch(matrix: np.ndarray, **_: Any) -> tuple[np.ndarray, bool]:
    """Stand for ``scipy.linalg.cho_factor``."""
    lower = torch.linalg.cholesky(torch.from_numpy(matrix)).numpy()
    return lower.T, False  # its transpose is in Fortran's order, so that no copy is made


def make_task(
    trainer: GDMLTrain,
    dataset: dict[str, Any],
    train: np.ndarray,
    valid: np.ndarray,
    request: dict[str, Any],
) -> dict[str, Any]:
    """Let sgdml create its task, symmetries included, from exactly these frames."""
    use_energies = bool(request.get("use_energies", True))
    task = trainer.create_task(
        subset(dataset, train),
        len(train),
        subset(dataset, valid),
        len(valid),
        sig=1,
        lam=float(request.get("regularization", 1e-10)),
        use_sym=bool(request.get("use_symmetries", True)),
        use_E=use_energies,
        use_E_cstr=bool(request.get("energy_constraints", False)),
    )
    # Without energies sgdml shuffles the frames it was given: follow its order.
    task["idxs_train"] = train[task["idxs_train"]]
    task["idxs_valid"] = valid[np.asarray(task["idxs_valid"], dtype=int)]
    task["md5_train"] = task["md5_valid"] = io.dataset_md5(dataset)
    if not np.array_equal(task["R_train"], dataset["R"][task["idxs_train"]]):
        raise RuntimeError("sgdml did not take the frames it was given")
    return task


def errors(model: dict[str, Any], dataset: dict[str, Any], processes: int) -> dict[str, Any]:
    """Errors of a model on all frames of a dataset, with sgdml's fastest CPU settings."""
    start = time.perf_counter()
    predictor = GDMLPredict(model, max_processes=processes)
    positions = dataset["R"].reshape(len(dataset["R"]), -1)
    predictor.prepare_parallel(n_bulk=min(BULK, len(positions)))
    parts = [
        predictor.predict(positions[first : first + BULK])
        for first in range(0, len(positions), BULK)
    ]
    force_error = np.concatenate([f for _, f in parts]) - dataset["F"].reshape(positions.shape)
    energy_mae = energy_rmse = None
    if model["use_E"]:
        energy_error = np.concatenate([e for e, _ in parts]) - np.ravel(dataset["E"])
        energy_mae = float(np.abs(energy_error).mean())
        energy_rmse = float(np.sqrt((energy_error**2).mean()))
    return {
        "energy_mae": energy_mae,
        "energy_rmse": energy_rmse,
        "force_mae": float(np.abs(force_error).mean()),
        "force_rmse": float(np.sqrt((force_error**2).mean())),
        "n": len(positions),
        "seconds": time.perf_counter() - start,
    }


def load_dataset(path: str) -> dict[str, Any]:
    """Read an sGDML dataset; positions and labels become float64, missing names are filled in."""
    with np.load(path, allow_pickle=False) as archive:
        dataset = {
            key: archive[key]
            for key in ("z", "R", "E", "F", "name", "theory", "lattice", "r_unit", "e_unit")
            if key in archive.files
        }
    unit = str(dataset.get("e_unit", "kcal/mol"))
    if unit != "kcal/mol":
        raise ValueError(f"{path} is in {unit}: errors are compared in kcal/mol, convert it first")
    for key in ("R", "E", "F"):
        if key in dataset:
            dataset[key] = np.asarray(dataset[key], dtype=np.float64)
    for key in ("name", "theory"):
        dataset.setdefault(key, np.array("unknown"))
    return dataset


def subset(dataset: dict[str, Any], indices: np.ndarray) -> dict[str, Any]:
    """Return a dataset of these frames only."""
    frames = {key: dataset[key][indices] for key in ("R", "E", "F") if key in dataset}
    return {**dataset, **frames}


@contextmanager
def timed(owner: Any, name: str, seconds: dict[str, float], key: str) -> Iterator[None]:
    """Add the time spent in ``owner.name`` to ``seconds[key]`` while the context lasts."""
    original: Callable[..., Any] = getattr(owner, name)

    def measured(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            seconds[key] += time.perf_counter() - start

    setattr(owner, name, measured)
    try:
        yield
    finally:
        setattr(owner, name, original)


if __name__ == "__main__":
    serve(main)
