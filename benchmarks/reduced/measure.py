"""Measuring a row, each training in a fresh process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from peers.environment import PeerError, run_measured
from reporting import Figures

import kraft
from kraft.analysis.feature_patterns import compare_importances, split_by_extent
from kraft.analysis.importance import FeatureImportance
from kraft.analysis.interactions import distance_trends, interaction_map
from kraft.reports.interaction_figures import map_figure, partner_figure, trend_figure
from kraft.reports.reduction_figures import importance_figure, save_figure

from .cases import Case

SCRIPT = Path(__file__).resolve().parents[1] / "peers" / "kraft_reduced.py"
TIMING = SCRIPT.with_name("kraft_importance.py")
KCAL = kraft.Units("kcal/mol")


class Measurement:
    """Measures the rows of a case.

    Parameters
    ----------
    case
        The molecule.
    data
        Folder of reference data.
    folder
        Where models are kept between rows, and figures go.
    threads
        Of the linear algebra.
    """

    def __init__(self, case: Case, data: Path, folder: Path, *, threads: int) -> None:
        self.case, self.folder, self.threads = case, folder, threads
        self.source = data / case.file
        if not self.source.exists():
            raise FileNotFoundError(f"there is no {self.source}: set KRAFT_REFERENCE_DATA")
        self.dataset = kraft.read(self.source)
        order = np.random.default_rng(0).permutation(len(self.dataset))
        sizes = np.cumsum([case.n_test, case.n_valid, case.n_frames])
        self.test, self.valid, self.looked_at, self.rest = np.split(order, sizes)
        if len(self.rest) < case.n_train:  # few frames: look at those of the test set
            self.looked_at = self.test[: case.n_frames]
            self.test, self.valid, self.rest = np.split(order, sizes[:2])
        if len(self.rest) < case.n_train:
            raise ValueError(f"{case.name}: {len(self.rest)} frames left for {case.n_train}")

    def __call__(self, row: str, rows: dict[str, Figures]) -> Figures:
        """Return the figures of a row, given those of earlier ones.

        Raises
        ------
        PeerError
            When a process fails, or a row that this one needs has not been measured.
        """
        what = row.split(":")[1]
        if what == "importance":
            return self._importance()
        if what == "importance-time":
            request = {
                "dataset": str(self.source),
                "look_indices": self.looked_at.tolist(),
                "n_train": self.case.n_timed,
                "symmetric": self.case.symmetric,
            }
            return run_measured(sys.executable, TIMING, request, threads=self.threads)
        if what == "maps":
            return self._maps(rows)
        if what == "robustness":
            return self._robustness()
        if what == "extent":
            return self._extent(rows)
        features = self._features(rows, what)
        return self._train(
            self.rest[: self.case.n_train],
            self.valid,
            self.test,
            features=features,
            solver="iterative" if len(self.rest) > 50 else "auto",
            model=str(self._model(what)),
        )

    def _importance(self) -> Figures:
        answer = self._train(
            self.rest[: self.case.n_first],
            self.valid,
            self.test[:200],
            look_indices=self.looked_at.tolist(),
            keeps=list(self.case.keeps),
        )
        found = self._as_importance(answer["importance"])
        kept = np.array(answer["importance"]["features"][f"{self.case.mapped:g}"])
        figure = importance_figure(found, kept, units=KCAL, title=self.case.label)
        save_figure(figure, self._figure("importance"))
        return answer

    def _maps(self, rows: dict[str, Figures]) -> Figures:
        models = {
            f"{100 * keep:.0f} % of the pairs": kraft.load(self._model(f"{keep:g}"))
            for keep in (1.0, self.case.mapped)
        }
        frames = self.dataset.positions[self.looked_at]
        maps = {name: interaction_map(model, frames) for name, model in models.items()}
        save_figure(map_figure(maps, units=KCAL, title=self.case.label), self._figure("maps"))
        kept = np.array(self._features(rows, f"{self.case.mapped:g}"))
        chosen = (None, kept)
        trends = {
            name: distance_trends(found, features)
            for (name, found), features in zip(maps.items(), chosen, strict=True)
        }
        figure = trend_figure(trends, units=KCAL, title=self.case.label)
        save_figure(figure, self._figure("trends"))
        numbers = self.dataset.atomic_numbers
        atoms = [int(np.flatnonzero(numbers == z)[0]) for z in np.unique(numbers)]
        figure = partner_figure(numbers, frames[0], kept, atoms, title=self.case.label)
        save_figure(figure, self._figure("partners"))
        return {
            name: {
                "share_linear": trend.share_linear(),
                "decay_exponent": trend.decay_exponent(),
                "n_pairs": len(trend.r_squared),
            }
            for name, trend in trends.items()
        }

    def _robustness(self) -> Figures:
        """Measure the four considerations of the SI, with models of few frames."""
        n = self.case.n_first
        pool = self.rest
        few = max(4, n // 2)
        variants: dict[str, dict[str, Any]] = {
            "first": {},
            "other frames": {"train": pool[-n:]},
            "half the frames": {"train": pool[:few]},
            "a tenth of the test frames": {
                "look": self.looked_at[: max(1, len(self.looked_at) // 10)]
            },
            "regularization 1e-8": {"settings": {"regularization": 1e-8}},
            "regularization 1e-12": {"settings": {"regularization": 1e-12}},
        }
        found = {}
        scale = self.case.length_scale
        for name, changed in variants.items():
            settings: dict[str, Any] = {"kernel": self.case.kernel, "regularization": 1e-10}
            settings.update({} if scale is None else {"length_scale": scale})
            answer = self._train(
                changed.get("train", pool[:n]),
                None,
                None,
                look_indices=changed.get("look", self.looked_at).tolist(),
                keeps=[self.case.mapped],
                settings={**settings, **changed.get("settings", {})},
            )
            scale = answer["choice"]["length_scale"]
            found[name] = self._as_importance(answer["importance"])
        comparison = compare_importances(found, keep=self.case.mapped)
        return {
            "names": list(comparison.names),
            "rank_correlations": comparison.rank_correlations[0].tolist(),
            "overlaps": comparison.overlaps[0].tolist(),
            "common": comparison.common,
            "keep": comparison.keep,
            "n_first": n,
        }

    def _extent(self, rows: dict[str, Figures]) -> Figures:
        """Train on compact frames and test on extended ones, and the other way (Table S2)."""
        found = split_by_extent(self.dataset, self.case.threshold or 0.0)
        order = np.random.default_rng(1)
        halves = {}
        for name, part in (("compact", found.compact), ("extended", found.extended)):
            indices = part.provenance.indices
            halves[name] = order.permutation(np.arange(len(part)) if indices is None else indices)
        n_valid, n_test = self.case.n_valid, self.case.n_test
        figures: Figures = {"threshold": found.threshold}
        for name, other in (("compact", "extended"), ("extended", "compact")):
            train = halves[name][n_valid : n_valid + self.case.n_first]
            for keep in (1.0, self.case.mapped):
                answer = self._train(
                    train,
                    halves[name][:n_valid],
                    halves[other][:n_test],
                    features=self._features(rows, f"{keep:g}"),
                )
                figures[f"{name}:{keep:g}"] = {"test": answer["test"], "valid": answer["valid"]}
        return figures

    def _features(self, rows: dict[str, Figures], keep: str) -> list[int] | None:
        if keep == "1":
            return None
        key = f"{self.case.name}:importance"
        if key not in rows:
            raise PeerError(f"measure {key} first")
        features: list[int] = rows[key]["importance"]["features"][keep]
        return features

    def _train(
        self, train: Any, valid: Any, test: Any, *, settings: Figures | None = None, **more: Any
    ) -> Figures:
        given = {"length_scale": self.case.length_scale, "regularization": self.case.regularization}
        request = {
            "dataset": str(self.source),
            "train_indices": np.sort(train).tolist(),
            "valid_indices": None if valid is None else np.sort(valid).tolist(),
            "test_indices": None if test is None else np.sort(test).tolist(),
            "permutations": "auto" if self.case.symmetric else None,
            "settings": settings
            or {
                "kernel": self.case.kernel,
                "feature_weights": None,  # as in the paper: masking is the only measure
                **{k: v for k, v in given.items() if v is not None},
            },
            **more,
        }
        return run_measured(sys.executable, SCRIPT, request, threads=self.threads)

    def _as_importance(self, figures: Figures) -> FeatureImportance:
        labels = np.array(figures["labels"])
        losses = np.array(figures["losses"])
        return FeatureImportance(
            n_atoms=self.dataset.n_atoms,
            features=np.arange(len(labels)),
            labels=labels,
            orbit_losses=np.bincount(labels, losses),
            mean_distances=np.array(figures["mean_distances"]),
            largest_distances=np.array(figures["largest_distances"]),
            n_frames=figures["n_frames"],
        )

    def _model(self, keep: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{self.case.name}_{keep}.safetensors"

    def _figure(self, name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"reduction_{self.case.name}_{name}.png"
