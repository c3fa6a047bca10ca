"""Train and time FCHL19 with forces (qmllib); runs in qmllib's environment.

Request
    ``dataset``, ``train_indices``, ``valid_indices``, ``test_indices``: see ``frames.py``;
    ``regressor``: ``"gp"`` (the Gaussian process of energies and forces) or ``"oqml"`` (operator
    machine learning: a basis of kernels on atoms, least squares); ``search_frames`` (default 50):
    training and validation frames of the search; ``sigmas``, ``moves`` (default true);
    ``batch_sizes`` (default [1, 16]), ``min_seconds``; ``only_times`` (optional): the ``settings``
    of an earlier answer, to time predictions with them and train nothing.

Answer
    ``test`` (errors in kcal/mol and kcal/mol/Å), ``settings`` (what was chosen), ``search`` (a row
    per trial), ``seconds`` (``search``, ``training`` with the settings found, ``total``),
    ``microseconds_per_geometry`` of qmllib's kernels and, as ``contracted``, of the same model with
    its coefficients summed over beforehand, which qmllib has no function for.

Settings are chosen by the force MAE on validation frames: two sets of parameters of the
representation (qmllib's default and one with wider Gaussians that decay faster, for forces), each
with several widths sigma, on a part of the frames; then, one after the other, other cutoffs,
weights of the three-body part, widths of its Gaussians and sigmas, each kept if it is better; the
regularization at every trial, and once more with all training frames.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from exchange import best_time, serve
from frames import Frames, errors, requested, versions
from qmllib.kernels import (
    get_atomic_local_gradient_kernel,
    get_atomic_local_kernel,
    get_gp_kernel,
    get_symmetric_gp_kernel,
)
from qmllib.representations import generate_fchl19
from qmllib.solvers import cho_solve

DEFAULT: dict[str, float] = {"eta3": 2.7, "three_body_weight": 13.4, "rcut": 8.0}
FOR_FORCES: dict[str, float] = {
    "nRs3": 22,
    "eta2": 0.41,
    "eta3": 0.97,
    "two_body_decay": 2.39,
    "three_body_decay": 2.40,
    "three_body_weight": 45.83,
    "rcut": 8.0,
}
SIGMAS = (4.0, 8.0, 16.0, 32.0)
MOVES = (
    ("rcut", 0.7),
    ("rcut", 1.5),
    ("three_body_weight", 2.0),
    ("three_body_weight", 0.5),
    ("eta3", 2.0),
    ("eta3", 0.5),
    ("sigma", 1.4),
    ("sigma", 0.7),
)
REGULARIZATIONS = {
    "gp": tuple(10.0**-k for k in range(4, 14)),
    "oqml": tuple(10.0**-k for k in range(6, 17)),
}


@dataclass(frozen=True)
class Settings:
    """Parameters of the representation, width of the kernel and regularization."""

    representation: dict[str, float]
    sigma: float
    regularization: float = float("nan")

    def scaled(self, name: str, factor: float) -> Settings:
        """Return settings with one of them changed."""
        if name == "sigma":
            return replace(self, sigma=self.sigma * factor)
        value = self.representation[name] * factor
        return replace(self, representation={**self.representation, name: value})


class Represented:
    """Frames as FCHL19 sees them."""

    def __init__(self, frames: Frames, settings: Settings) -> None:
        given = dict(settings.representation)
        given["acut"] = given["rcut"]
        elements = sorted(set(frames.numbers.tolist()))
        made = [
            generate_fchl19(
                frames.numbers,
                positions,
                elements=elements,
                pad=len(frames.numbers),
                gradients=True,
                **given,
            )
            for positions in frames.positions
        ]
        self.numbers = frames.numbers
        self.values = np.array([value for value, _ in made])
        self.gradients = np.array([gradient for _, gradient in made])
        self.charges = [frames.numbers] * len(frames)

    def take(self, stop: int) -> Represented:
        """Return the first of these frames."""
        part = object.__new__(Represented)
        part.numbers, part.charges = self.numbers, self.charges[:stop]
        part.values, part.gradients = self.values[:stop], self.gradients[:stop]
        return part


class Model:
    """A fitted FCHL19 model."""

    def __init__(
        self, regressor: str, train: Represented, sigma: float, offset: float, solution: np.ndarray
    ) -> None:
        self.regressor, self.train, self.sigma, self.offset = regressor, train, sigma, offset
        self.solution = solution
        count, atoms, size = train.values.shape
        if regressor == "gp":
            self.scalars = np.repeat(solution[:count, None], atoms, axis=1)
            per_label = train.gradients.reshape(count, atoms, size, 3 * atoms)
            labels = solution[count:].reshape(count, 1, 3 * atoms, 1)
            self.vectors = (per_label @ labels)[..., 0]
        else:
            self.scalars = solution.reshape(count, atoms)
            self.vectors = np.zeros_like(train.values)

    def by_kernels(self, frames: Represented) -> tuple[np.ndarray, np.ndarray]:
        """Predict with qmllib's kernels."""
        train, count = self.train, len(frames.values)
        pair = (train.values, frames.values)
        charges = (train.charges, frames.charges)
        if self.regressor == "gp":
            gradients = (train.gradients, frames.gradients)
            labels = get_gp_kernel(*pair, *gradients, *charges, self.sigma) @ self.solution
            return labels[:count] + self.offset, labels[count:]
        energies = get_atomic_local_kernel(*pair, *charges, self.sigma) @ self.solution
        forces = get_atomic_local_gradient_kernel(*pair, frames.gradients, *charges, self.sigma)
        return energies + self.offset, forces @ self.solution

    def contracted(self, frames: Represented) -> tuple[np.ndarray, np.ndarray]:
        """Predict with sums over the coefficients made beforehand: the same, but cheaper."""
        count, atoms, size = frames.values.shape
        energies = np.full(count, self.offset)
        slopes = np.zeros_like(frames.values)
        for element in np.unique(self.train.numbers):
            mine = np.flatnonzero(self.train.numbers == element)
            left = frames.values[:, mine].reshape(-1, size)
            right = self.train.values[:, mine].reshape(-1, size)
            scalar = self.scalars[:, mine].ravel()
            vector = self.vectors[:, mine].reshape(-1, size)
            squares = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2.0 * left @ right.T
            kernel = np.exp(-0.5 * squares / self.sigma**2)
            along = left @ vector.T - (right * vector).sum(1)
            weights = kernel * (scalar - along / self.sigma**2)
            energies += weights.reshape(count, -1).sum(1)
            slope = weights @ right - weights.sum(1)[:, None] * left - kernel @ vector
            slopes[:, mine] = (slope / self.sigma**2).reshape(count, len(mine), size)
        gradients = frames.gradients.reshape(count, atoms, size, 3 * atoms)
        forces = -(slopes[:, :, None] @ gradients)[:, :, 0].sum(1)
        return energies, forces


def main(request: dict[str, Any]) -> dict[str, Any]:
    train, valid, test = requested(request)
    regressor = request["regressor"]
    if request.get("only_times"):
        return {**timed(regressor, train, test, request), "versions": versions("qmllib", "numpy")}
    start = time.perf_counter()
    found, trials = search(regressor, train, valid, request)
    searched = time.perf_counter()
    model, found, rows = fit(regressor, train, valid.first(100), found)
    trained = time.perf_counter()
    represented = Represented(test, found)
    check(model, represented.take(2))
    return {
        "test": errors(*model.contracted(represented), test),
        "settings": {**found.representation, "sigma": found.sigma, "lambda": found.regularization},
        "search": trials,
        "final": rows,
        "seconds": {
            "search": searched - start,
            "training": trained - searched,
            "total": trained - start,
        },
        **timings(model, found, test, request),
        "versions": versions("qmllib", "numpy"),
    }


def timed(regressor: str, train: Frames, test: Frames, request: dict[str, Any]) -> dict[str, Any]:
    """Time predictions with given settings; what the coefficients are makes no difference."""
    given = dict(request["only_times"])
    sigma, regularization = given.pop("sigma"), given.pop("lambda")
    settings = Settings(given, sigma, regularization)
    seen = Represented(train, settings)
    count, atoms, _ = seen.values.shape
    n_coefficients = count * (1 + 3 * atoms) if regressor == "gp" else count * atoms
    coefficients = np.random.default_rng(0).normal(size=n_coefficients)
    model = Model(regressor, seen, sigma, 0.0, coefficients)
    return timings(model, settings, test, request)


def search(
    regressor: str, train: Frames, valid: Frames, request: dict[str, Any]
) -> tuple[Settings, list[dict[str, Any]]]:
    """Return the best settings on a part of the frames, and all that were tried."""
    count = int(request.get("search_frames", 50))
    part, judge = train.first(count), valid.first(count)
    trials: list[dict[str, Any]] = []

    def tried(settings: Settings) -> tuple[float, Settings]:
        _, chosen, rows = fit(regressor, part, judge, settings)
        error = min(row["force_mae"] for row in rows)
        trials.append({**settings.representation, "sigma": settings.sigma, "force_mae": error})
        return error, chosen

    sigmas = request.get("sigmas", SIGMAS)
    starts = [Settings(given, sigma) for given in (DEFAULT, FOR_FORCES) for sigma in sigmas]
    best = min((tried(settings) for settings in starts), key=lambda pair: pair[0])
    for move in MOVES if request.get("moves", True) else ():
        best = min(best, tried(best[1].scaled(*move)), key=lambda pair: pair[0])
    return best[1], trials


def fit(
    regressor: str, train: Frames, judge: Frames, settings: Settings
) -> tuple[Model, Settings, list[dict[str, Any]]]:
    """Fit with the regularization that is best on the frames ``judge``."""
    seen, other = Represented(train, settings), Represented(judge, settings)
    offset = float(train.energies.mean())
    labels = np.concatenate([train.energies - offset, train.forces.ravel()])
    solve = gaussian_process if regressor == "gp" else operator_learning
    best: tuple[float, Model | None, Settings] = (np.inf, None, settings)
    rows = []
    for regularization, solution in solve(seen, settings.sigma, labels):
        model = Model(regressor, seen, settings.sigma, offset, solution)
        row = errors(*model.contracted(other), judge)
        rows.append({"regularization": regularization, **row})
        if row["force_mae"] < best[0]:
            chosen = replace(settings, regularization=regularization)
            best = (row["force_mae"], model, chosen)
    if best[1] is None:
        raise RuntimeError(f"no regularization gives finite errors with {settings}")
    return best[1], best[2], rows


def gaussian_process(seen: Represented, sigma: float, labels: np.ndarray) -> Any:
    """Yield regularizations and the coefficients they give."""
    kernel = get_symmetric_gp_kernel(seen.values, seen.gradients, seen.charges, sigma)
    diagonal = np.arange(len(kernel))
    for regularization in REGULARIZATIONS["gp"]:
        matrix = kernel.copy()
        matrix[diagonal, diagonal] += regularization
        solution = cho_solve(matrix, labels)
        residual = kernel @ solution + regularization * solution - labels
        if np.abs(residual).max() < 1e-2 * np.abs(labels).max():  # else not positive definite
            yield regularization, solution


def operator_learning(seen: Represented, sigma: float, labels: np.ndarray) -> Any:
    """Yield cutoffs of the singular values, relative to the largest, and the coefficients."""
    given = (seen.values, seen.values)
    charges = (seen.charges, seen.charges, sigma)
    energies = get_atomic_local_kernel(*given, *charges)
    forces = get_atomic_local_gradient_kernel(*given, seen.gradients, *charges)
    left, values, right = np.linalg.svd(np.concatenate([energies, forces]), full_matrices=False)
    projected = left.T @ labels
    for cutoff in REGULARIZATIONS["oqml"]:
        kept = values > cutoff * values[0]
        yield cutoff, right[kept].T @ (projected[kept] / values[kept])


def check(model: Model, frames: Represented) -> None:
    """Make sure that both ways to predict agree."""
    for by_kernels, contracted in zip(
        model.by_kernels(frames), model.contracted(frames), strict=True
    ):
        difference = np.abs(np.ravel(by_kernels) - np.ravel(contracted)).max()
        if difference > 1e-4 * max(1.0, np.abs(by_kernels).max()):
            raise RuntimeError(f"the two ways to predict differ by {difference:g}")


def timings(
    model: Model, settings: Settings, test: Frames, request: dict[str, Any]
) -> dict[str, Any]:
    """Time predictions from positions to energies and forces."""
    figures: dict[str, Any] = {"microseconds_per_geometry": {}, "contracted": {}}
    seconds = float(request.get("min_seconds", 1.0))
    for size in request.get("batch_sizes", [1, 16]):
        batch = test.first(size)
        ways = {"microseconds_per_geometry": model.by_kernels, "contracted": model.contracted}
        for name, predict in ways.items():
            spent = best_time(
                lambda batch=batch, predict=predict: predict(Represented(batch, settings)),
                min_seconds=seconds,
            )
            figures[name][str(size)] = 1e6 * spent["best"] / len(batch)
    return figures


if __name__ == "__main__":
    serve(main)
