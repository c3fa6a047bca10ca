"""All measurements on one system, each made once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kraft.analysis.preconditioner_study.candidates import (
    FROM_ALL_ENTRIES,
    FROM_EIGENVECTORS,
    Built,
    Candidate,
    build,
)
from kraft.analysis.preconditioner_study.eigenvectors import leading_eigenvectors
from kraft.analysis.preconditioner_study.iterations import (
    GROUP_MEMORY,
    Budget,
    IterationCount,
    measure_iterations,
    seconds_of,
)
from kraft.analysis.preconditioner_study.log import MeasurementLog
from kraft.analysis.preconditioner_study.rules import RulePoint
from kraft.analysis.preconditioner_study.spectra import Factor, Spectrum
from kraft.analysis.preconditioner_study.systems import StoredKernel, StudySystem
from kraft.core.errors import MemoryLimitError
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.core.typing import FloatArray
from kraft.solvers.preconditioners.dense_study import Spectrum as Eigenvectors

_DIGITS = 5
_MORE_EIGENVALUES = 100
_TIMED_VECTORS = 16


class Study:
    """Measurements on one system.

    Parameters
    ----------
    system
        The system.
    log
        Where finished measurements are kept; those that it has are not made again.
    seed
        Of the choices of columns.
    max_memory
        Bytes that the stored matrix may take; what is available by default.
    group_memory
        Bytes of preconditioners that are iterated with together.
    progress
        Told about the stages.
    """

    def __init__(
        self,
        system: StudySystem,
        log: MeasurementLog,
        *,
        seed: int = 0,
        max_memory: int | None = None,
        group_memory: int = GROUP_MEMORY,
        progress: Progress = silent,
    ) -> None:
        self.system = system
        self._log = log
        self._seed = seed
        self._max_memory = max_memory
        self._group_memory = group_memory
        self._progress = progress
        self._stored: StoredKernel | None = None
        self._factor: Factor | None = None
        self._leading: Eigenvectors | None = None
        self._most_eigenvectors = 0
        self._prefix = f"{system.molecule}/{system.n_labels}/{system.fingerprint}/seed{seed}"

    def iterations(self, chosen: Sequence[Candidate], budget: Budget) -> tuple[IterationCount, ...]:
        """Return the iterations to convergence with every candidate (paper 004, figure 5)."""
        missing = [candidate for candidate in chosen if not self._counted(candidate, budget)]
        self._expect(missing)
        if missing:
            product = self._fastest_product(len(missing))
            for count in measure_iterations(
                missing,
                self._build,
                product,
                self.system.right_hand_side.numpy(),
                self.system.regularization,
                budget=budget,
                memory_of=lambda candidate: candidate.expected_memory(self.system.operator),
                group_memory=self._group_memory,
                progress=self._progress,
            ):
                figures = {**dataclasses.asdict(count), "limits": dataclasses.asdict(budget)}
                self._log.add(self._count_key(count.candidate, budget), _finite(figures))
        return tuple(self._count(candidate, budget) for candidate in chosen)

    def spectra(
        self, chosen: Sequence[Candidate], *, n_largest: int = 150
    ) -> dict[Candidate, Spectrum]:
        """Return the largest eigenvalues of ``P⁻¹ K_λ`` for every candidate (004, figure 4)."""
        self._expect(chosen)
        for number, candidate in enumerate(chosen):
            self._progress("spectra", number, len(chosen))
            key = self._spectrum_key(candidate, n_largest)
            if key in self._log:
                continue
            preconditioner = self._build(candidate).preconditioner
            spectrum = self._cholesky().spectrum(
                preconditioner, n_largest=n_largest, rng=generator(self._seed, "study/spectrum")
            )
            shown = spectrum.thinned(n_largest, _MORE_EIGENVALUES)
            figures = {
                "indices": shown.indices.tolist(),
                "values": [float(f"{value:.{_DIGITS}g}") for value in shown.values],
                "smallest": spectrum.smallest,
                "complete": spectrum.complete,
                "columns": preconditioner.rank,
            }
            self._log.add(key, figures)
        self._progress("spectra", len(chosen), len(chosen))
        return {candidate: self._spectrum(candidate, n_largest) for candidate in chosen}

    def seconds_per_product(self) -> float:
        """Return the time of one matrix-free product, as a training makes them."""
        key = f"{self._prefix}/product"
        if key not in self._log:
            product = self.system.operator.product()
            vector = self.system.right_hand_side.numpy()
            product(vector)  # fills the caches
            self._log.add(key, {"seconds": seconds_of(lambda: product(vector), repeats=5)})
        return float(self._log[key]["seconds"])

    def run_times(self, counts: Sequence[IterationCount]) -> tuple[RulePoint, ...]:
        """Return the run time of every converged count: building it and all of its steps.

        The steps are those counted, at the measured times of a matrix-free product and of the
        preconditioner; vector operations are left out.
        """
        product = self.seconds_per_product()
        return tuple(
            RulePoint(
                rank=count.rank,
                iterations=count.iterations,
                seconds=count.seconds_build + count.iterations * (product + count.seconds_apply),
            )
            for count in counts
            if count.converged
        )

    def release(self) -> None:
        """Give the memory of the matrix back; it is made again when needed."""
        self._stored = self._factor = self._leading = None

    def _expect(self, chosen: Sequence[Candidate]) -> None:
        ranks = [each.rank for each in chosen if each.method in FROM_EIGENVECTORS]
        self._most_eigenvectors = max(ranks, default=0)

    def _build(self, candidate: Candidate) -> Built:
        whole = candidate.method in FROM_ALL_ENTRIES
        operator = self._matrix() if whole else self.system.operator
        needed = candidate.method in FROM_EIGENVECTORS
        return build(
            candidate,
            operator,
            self.system.regularization,
            spectrum=self._eigenvectors(candidate.rank) if needed else None,
            seed=self._seed,
        )

    def _eigenvectors(self, rank: int) -> Eigenvectors:
        """Return the leading eigenvectors, computed once for the largest rank of the study."""
        wanted = min(max(rank, self._most_eigenvectors), self.system.size)
        if self._leading is None or len(self._leading.values) < wanted:
            rng = generator(self._seed, "study/eigenvectors")
            self._leading = leading_eigenvectors(self._matrix(), wanted, rng)
        return self._leading

    def _fastest_product(self, n_vectors: int) -> Callable[[FloatArray], FloatArray]:
        """Return what multiplies so many vectors at once sooner: the stored matrix or none.

        The kernel's own product is fastest with one vector at a time. It is all there is where the
        matrix does not fit in the memory.
        """
        free = ColumnByColumn(self.system.operator.product())
        try:
            stored = self._matrix().product()
        except MemoryLimitError:
            return free
        vector = self.system.right_hand_side.numpy()
        some = min(n_vectors, _TIMED_VECTORS)
        vectors = np.repeat(vector[:, None], some, axis=1)
        free(vector)  # fills the caches
        seconds_free = some * seconds_of(lambda: free(vector))
        return stored if seconds_of(lambda: stored(vectors)) < seconds_free else free

    def _matrix(self) -> StoredKernel:
        if self._stored is None:
            self._stored = self.system.stored(max_memory=self._max_memory, progress=self._progress)
        return self._stored

    def _cholesky(self) -> Factor:
        if self._factor is None:
            self._factor = Factor(self._matrix().matrix.numpy(), self.system.regularization)
        return self._factor

    def _counted(self, candidate: Candidate, budget: Budget) -> bool:
        """Tell whether the log has the count, or one that ended no earlier than it would now."""
        key = self._count_key(candidate, budget)
        if key not in self._log:
            return False
        row = self._log[key]
        limits = row["limits"]
        if row["status"] in ("converged", "breakdown"):
            return True
        if row["status"] == "max_iterations":
            return bool(limits["max_iterations"] >= budget.max_iterations)
        seconds = limits["max_seconds"]
        return bool(seconds is not None and seconds >= budget.max_seconds)

    def _count(self, candidate: Candidate, budget: Budget) -> IterationCount:
        row = self._log[self._count_key(candidate, budget)]
        known = {field.name for field in dataclasses.fields(IterationCount)}
        figures = {name: row[name] for name in known}
        if figures["relative_residual"] is None:
            figures["relative_residual"] = float("nan")
        return IterationCount(**figures)

    def _count_key(self, candidate: Candidate, budget: Budget) -> str:
        return f"{self._prefix}/iterations/{budget.tolerance:g}/{candidate.key}"

    def _spectrum(self, candidate: Candidate, n_largest: int) -> Spectrum:
        row = self._log[self._spectrum_key(candidate, n_largest)]
        return Spectrum(
            indices=np.array(row["indices"]),
            values=np.array(row["values"]),
            smallest=float(row["smallest"]),
            complete=bool(row["complete"]),
        )

    def _spectrum_key(self, candidate: Candidate, n_largest: int) -> str:
        return f"{self._prefix}/spectrum/{n_largest}/{candidate.key}"


class ColumnByColumn:
    """A product with one vector after the other."""

    def __init__(self, product: Callable[[FloatArray], FloatArray]) -> None:
        self._product = product

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Return ``K v`` for ``(n,)`` or ``(n, m)``."""
        if vectors.ndim == 1:
            return self._product(vectors)
        columns = [self._product(np.ascontiguousarray(column)) for column in vectors.T]
        return np.stack(columns, axis=1)


def _finite(figures: Mapping[str, object]) -> dict[str, object]:
    """Return figures with None for numbers that JSON does not have."""
    finite: dict[str, object] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            finite[name] = _finite(value)
        elif isinstance(value, float) and not np.isfinite(value):
            finite[name] = None
        else:
            finite[name] = value
    return finite
