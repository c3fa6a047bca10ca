"""Train with sgdml's iterative solver under a time cap; runs in sgdml's environment.

Request
    What ``sgdml_train.py`` takes, with one ``length_scale``, and: ``max_memory`` in GiB, from
    which sgdml chooses the columns of its preconditioner, unless ``points`` gives their number in
    geometries; ``seconds`` and ``iterations``: caps on
    the conjugate gradients (neither the preconditioner nor the set-up counts);
    ``torch_operator`` (default false): products by torch instead of worker processes;
    ``assembled`` (default false): products with the assembled kernel matrix instead, for counting
    the iterations of small systems fast; ``snapshots``: seconds at which the test error is wanted.

Answer
    ``n``, ``n_points`` and ``n_columns`` (of every preconditioner built), ``n_permutations``,
    ``operator`` (what sgdml's search for the fastest settings found), ``history`` (rows of
    iteration, seconds since the start of the conjugate gradients, relative residual of the
    recurrence), ``relative_residual`` (recomputed), ``converged``, ``seconds_an_iteration``
    (median), ``seconds`` of the stages, ``test`` and ``snapshots`` (seconds, iteration, force MAE).

sgdml decides everything itself, as ``GDMLTrain.train`` does when the assembled matrix would not
fit, except for three things: the iterative solver is used however small the system; the search for
the fastest number of workers, which predicts all training geometries a dozen times or more, looks
at ``prepare_bulk`` geometries only (default 50), and also tries as many workers as ``processes``
(sgdml stops at one fewer); and the conjugate gradients end at the cap as if the number of
iterations had run out.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import scipy as sp
from exchange import serve
from sgdml.predict import GDMLPredict
from sgdml.solvers.analytic import Analytic
from sgdml.solvers.iterative import Iterative
from sgdml.train import GDMLTrain
from sgdml.utils import perm
from sgdml.utils.desc import Desc
from sgdml_train import errors, load_dataset, make_task, subset, timed

MAX_ROWS = 400
"""Rows of the history that are kept."""


class TimeUpError(Exception):
    """Raised in the callback when the cap is reached."""


class Watch:
    """Stand between sgdml and SciPy's conjugate gradients: record, and stop at the cap."""

    def __init__(self, seconds: float, iterations: float, snapshots: list[float]) -> None:
        self.history: list[tuple[int, float, float]] = []
        self.snapshots: list[tuple[float, int, np.ndarray]] = []
        self.solution: np.ndarray | None = None
        self.relative_residual = math.nan
        self._caps = (seconds, iterations)
        self._wanted = sorted(snapshots)
        self._solve = sp.sparse.linalg.cg
        self._started: float | None = None
        self._norm = 1.0

    def cg(self, A: Any, b: np.ndarray, *, callback: Callable[..., None], **keywords: Any) -> Any:
        """Solve as ``scipy.sparse.linalg.cg`` does, until the time is up."""
        self._started = self._started or time.perf_counter()
        self._norm = float(np.linalg.norm(b))

        def watched(x: np.ndarray) -> None:
            # sgdml's callback looks for a residual among the variables of its caller.
            r = inspect.currentframe().f_back.f_locals["r"]  # type: ignore[union-attr]
            self._record(x, float(np.linalg.norm(r)))
            callback(x)

        try:
            x, info = self._solve(A, b, callback=watched, **keywords)
        except TimeUpError:
            x, info = self.solution, 1
        self.relative_residual = float(np.linalg.norm(b - A.matvec(x)) / self._norm)
        return x, info

    def _record(self, x: np.ndarray, residual: float) -> None:
        seconds = time.perf_counter() - (self._started or 0.0)
        self.solution = x
        self.history.append((len(self.history) + 1, seconds, residual / self._norm))
        while self._wanted and seconds >= self._wanted[0]:
            self._wanted.pop(0)
            self.snapshots.append((seconds, len(self.history), -x))
        if seconds >= self._caps[0] or len(self.history) >= self._caps[1]:
            self.solution = x.copy()
            raise TimeUpError


def main(request: dict[str, Any]) -> dict[str, Any]:
    np.random.seed(int(request.get("seed", 0)))  # noqa: NPY002  sgdml draws from the global one
    dataset = load_dataset(request["dataset"])
    processes = int(request.get("processes", 2))
    trainer = GDMLTrain(
        max_memory=request["max_memory"],
        max_processes=processes,
        use_torch=bool(request.get("torch_operator", False)),
    )
    watch = Watch(
        float(request.get("seconds", math.inf)),
        float(request.get("iterations", math.inf)),
        list(request.get("snapshots", [])),
    )
    columns: list[int] = []
    predictors: list[GDMLPredict] = []
    _instrument(request, watch, columns, predictors)
    names = ("symmetry", "leverage", "preconditioner", "operator", "integration_constant")
    seconds = dict.fromkeys(names, 0.0)
    with (
        timed(perm, "find_perms", seconds, "symmetry"),
        timed(Iterative, "_lev_scores", seconds, "leverage"),
        timed(Iterative, "_init_precon_operator", seconds, "preconditioner"),
        timed(Iterative, "_init_kernel_operator", seconds, "operator"),
        timed(GDMLTrain, "_recov_int_const", seconds, "integration_constant"),
    ):
        start = time.perf_counter()
        train = np.asarray(request["train_indices"], dtype=int)
        task = make_task(trainer, dataset, train, np.array([], dtype=int), request)
        task = dict(task, sig=int(request["length_scale"]))
        model = trainer.train(task)
        seconds["total"] = time.perf_counter() - start
    if request.get("model"):
        np.savez_compressed(request["model"], **model)
    times = np.diff([0.0, *(row[1] for row in watch.history)])
    return {
        "n": int(np.size(model["alphas_F"])),
        "n_columns": columns,
        "n_points": [count // task["R_train"][0].size for count in columns],
        "n_permutations": len(model["perms"]),
        "operator": _operator(request, predictors),
        "history": _thinned(watch.history),
        "iterations": len(watch.history),
        "relative_residual": watch.relative_residual,
        "converged": watch.relative_residual <= 1.01 * float(model["solver_tol"]),
        "seconds_an_iteration": float(median(times)) if len(times) else None,
        "seconds": {**seconds, "cg": watch.history[-1][1]},
        **_tests(request, dataset, task, model, watch),
    }


def _instrument(
    request: dict[str, Any], watch: Watch, columns: list[int], predictors: list[GDMLPredict]
) -> None:
    """Put the watch, and what the request asks for, into sgdml's solver."""
    GDMLPredict._load_cached_bmark_result = lambda *_: None
    GDMLPredict._save_cached_bmark_result = lambda *_: None
    Analytic.est_memory_requirement = staticmethod(lambda *_: math.inf)
    sp.sparse.linalg.cg = watch.cg
    if request.get("points"):
        points = int(request["points"])
        Iterative.max_n_inducing_pts = staticmethod(lambda *_: points)
    bulk, prepare = int(request.get("prepare_bulk", 50)), GDMLPredict.prepare_parallel

    def prepare_parallel(self: GDMLPredict, n_bulk: int = 1, **keywords: Any) -> Any:
        predictors.append(self)
        described, self.R_desc = self.R_desc, None  # else it expects all of them
        answer = prepare(self, n_bulk=min(n_bulk, bulk), **keywords)
        _try_more_workers(self, int(request.get("processes", 2)), min(n_bulk, bulk))
        self.R_desc = described
        return answer

    GDMLPredict.prepare_parallel = prepare_parallel
    init_preconditioner = Iterative._init_precon_operator

    def counted(self: Iterative, *args: Any, **keywords: Any) -> Any:
        columns.append(len(args[4]))
        return init_preconditioner(self, *args, **keywords)

    Iterative._init_precon_operator = counted
    if request.get("assembled"):
        Iterative._init_kernel_operator = _assembled_operator


def _try_more_workers(predictor: GDMLPredict, workers: int, n_bulk: int) -> None:
    """Keep the settings that sgdml found unless that many workers are faster."""
    positions = np.random.rand(n_bulk, 3 * predictor.n_atoms)  # noqa: NPY002
    found = predictor.num_workers, predictor.chunk_size, predictor.bulk_mp

    def seconds(settings: tuple[int, int, bool]) -> float:
        predictor._set_num_workers(settings[0])
        predictor._set_chunk_size(settings[1])
        predictor._set_bulk_mp(settings[2])
        times = []
        for _ in range(3):
            start = time.perf_counter()
            predictor.predict(positions)
            times.append(time.perf_counter() - start)
        return min(times)

    chunks = {found[1], *(size for size in (10, 25, 50, 100) if size <= predictor.n_train)}
    tried = {(workers, size, True): 0.0 for size in chunks} | {found: 0.0}
    best = min(tried, key=seconds)
    seconds(best)


class NoPredictions:
    """Stand where sgdml makes a model of the latest iterate every two minutes."""

    def __init__(self, n_train: int) -> None:
        self._energies = np.zeros(n_train)

    def set_alphas(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def predict(self) -> tuple[np.ndarray, None]:
        """Return energies of zero."""
        return self._energies, None


def _assembled_operator(
    self: Iterative,
    task: dict[str, Any],
    R_desc: np.ndarray,
    R_d_desc: np.ndarray,
    tril_perms_lin: np.ndarray,
    lam: float,
    n: int,
    callback: object = None,
) -> Any:
    """Return sgdml's operator (its kernel's sign is negative) from its assembled matrix."""
    del callback
    K = self.gdml_train._assemble_kernel_mat(
        R_desc, R_d_desc, tril_perms_lin, task["sig"], self.desc
    )
    self.gdml_predict = NoPredictions(len(task["R_train"]))
    return sp.sparse.linalg.LinearOperator((n, n), matvec=lambda v: K @ v - lam * v, dtype=float)


def _operator(request: dict[str, Any], predictors: list[GDMLPredict]) -> dict[str, Any]:
    if request.get("assembled"):
        return {"kind": "assembled matrix"}
    if request.get("torch_operator"):
        return {"kind": "torch"}
    found = predictors[0]
    return {
        "kind": "NumPy",
        "workers": int(found.num_workers),
        "chunk": int(found.chunk_size),
        "bulk": bool(found.bulk_mp),
    }


def _tests(
    request: dict[str, Any],
    dataset: dict[str, Any],
    task: dict[str, Any],
    model: dict[str, Any],
    watch: Watch,
) -> dict[str, Any]:
    """Return the test errors of the model and of the snapshots."""
    chosen = request.get("test_indices")
    if chosen == [] or (chosen is None and not request.get("test_dataset")):
        return {"test": None, "snapshots": []}
    tested = load_dataset(request["test_dataset"]) if request.get("test_dataset") else dataset
    if chosen is not None:
        tested = subset(tested, np.asarray(chosen, dtype=int))
    processes = int(request.get("processes", 2))
    desc = Desc(len(task["z"]), max_processes=processes)
    _, jacobians = desc.from_R(task["R_train"].reshape(len(task["R_train"]), -1))
    rows = []
    for seconds, iteration, coefficients in watch.snapshots:
        products = desc.d_desc_dot_vec(jacobians, coefficients.reshape(-1, desc.dim_i))
        row = errors({**model, "R_d_desc_alpha": products}, tested, processes)
        rows.append([seconds, iteration, row["force_mae"]])
    return {"test": errors(model, tested, processes), "snapshots": rows}


def _thinned(history: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Return at most ``MAX_ROWS`` rows, the first and the last among them."""
    if len(history) <= MAX_ROWS:
        return history
    chosen = np.unique(np.geomspace(1, len(history), MAX_ROWS).astype(int)) - 1
    return [history[index] for index in chosen]


if __name__ == "__main__":
    serve(main)
