"""The metric of a model, as ``kraft info`` tells, draws and compares it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Group, Parameter

from kraft.analysis.importance import FeatureImportance, feature_importance
from kraft.analysis.metric import MetricMap, compare_with_importance, metric_map
from kraft.analysis.unseen import unseen_frames
from kraft.cli.outputs import check_plot, note_written
from kraft.cli.progress import progress_bars
from kraft.cli.summary import counted, number, print_notices
from kraft.core.errors import OptionError
from kraft.data import Dataset, Units
from kraft.data.checks import check
from kraft.models import ForceField
from kraft.models.molecule_match import check_molecule
from kraft.models.parameters import Parameters
from kraft.reports.metric_figures import metric_figure, save_figure

METRIC_GROUP = Group("Metric of a model", sort_key=20)

STRONGEST = 3
"""Couplings, and important features, that are told."""

STRONGEST_IN_JSON = 20
"""Couplings in the figures for programs."""


@Parameter(name="*", group=METRIC_GROUP)
@dataclass(frozen=True)
class MetricDisplay:
    """Figure of the metric, and what importance is measured on."""

    plot: Annotated[
        Path | None,
        Parameter(
            help=(
                "Figure of the effective weights, the couplings and, with data, the importance of "
                "the distances: .png, .pdf or .svg."
            )
        ),
    ] = None
    n_frames: Annotated[
        int, Parameter(help="Frames of the data that importance is measured on.")
    ] = 20

    def check(self, *, model: bool) -> None:
        """Raise OptionError when something does not fit the file that is described."""
        if self.plot is not None and not model:
            raise OptionError(
                "--plot draws the metric of a model, got a file of data. Give a model first."
            )
        if self.n_frames < 1:
            raise OptionError(f"Expected --n-frames to be at least 1, got {self.n_frames}.")
        check_plot(self.plot)

    def draw(
        self,
        metric: MetricMap | None,
        importance: FeatureImportance | None,
        units: Units,
        title: str,
    ) -> None:
        """Write the figure, if it was asked for."""
        if self.plot is None or metric is None:
            return
        save_figure(metric_figure(metric, importance, units=units, title=title), self.plot)
        note_written(self.plot)
        print_notices([f"Wrote {self.plot}."])

    def metric(self, force_field: ForceField, *, needed: bool) -> MetricMap | None:
        """Return the metric; None for models that have none, which is an error where needed."""
        if not (needed or self.plot is not None or isinstance(force_field.parameters, Parameters)):
            return None
        return metric_map(force_field)

    def importance(self, force_field: ForceField, dataset: Dataset) -> FeatureImportance:
        """Measure importance on frames that the model has not seen, evenly spread."""
        check_molecule(force_field, dataset.atomic_numbers, dataset.positions[0])
        report = check(dataset)
        report.raise_if_fatal()
        unseen = unseen_frames(force_field, dataset).dataset
        count = min(self.n_frames, len(unseen))
        if count < self.n_frames:
            measured = f"Importance is measured on {counted(count, 'frame')}"
            print_notices([f"{measured}: the data have no others that the model has not seen."])
        some = np.linspace(0, len(unseen) - 1, count).round().astype(np.int64)
        with progress_bars() as progress:
            return feature_importance(force_field, unseen.positions[some], progress=progress)


def metric_map_facts(metric: MetricMap) -> list[tuple[str, str]]:
    """Return the largest and the smallest effective weights, and the strongest couplings."""
    return [*_weights(metric), *_couplings(metric)]


def importance_facts(
    metric: MetricMap, importance: FeatureImportance, units: Units
) -> list[tuple[str, str]]:
    """Return the most important features, and how importance goes with the weights."""
    found = compare_with_importance(metric, importance)
    order = np.argsort(-found.force_changes, kind="stable")[:STRONGEST]
    told = ", ".join(
        f"{metric.name(found.features[place])} "
        f"{number(float(found.force_changes[place] / units.force_factor))}"
        for place in order
    )
    over = f"{len(found.features)} kinds of pairs, {counted(found.n_frames, 'frame')}"
    correlation = found.rank_correlation
    return [
        ("most important", f"{told} {units.force_label} by masking"),
        (
            "weights, importance",
            f"all weights or importances alike, so no rank correlation ({over})"
            if correlation is None
            else f"rank correlation {correlation:.2f} ({over})",
        ),
    ]


def metric_content(
    metric: MetricMap | None, importance: FeatureImportance | None, units: Units
) -> dict[str, Any] | None:
    """Return the same for ``--json``."""
    if metric is None:
        return None
    pairs = metric.pairs
    content = {
        "pairs": pairs,
        "orbits": metric.labels,
        "effective_weights": metric.weights,
        "own_shares": metric.own_shares,
        "strongest_couplings": [
            {
                "pairs": pairs[[coupling.one, coupling.other]],
                "coupling": coupling.strength,
                "n_equivalent": coupling.n_equivalent,
            }
            for coupling in metric.strongest_couplings(STRONGEST_IN_JSON)
        ],
    }
    if importance is None:
        return content
    compared = compare_with_importance(metric, importance)
    return {
        **content,
        "importance": importance.force_changes / units.force_factor,
        "n_frames": importance.n_frames,
        "rank_correlation": compared.rank_correlation,
    }


def _weights(metric: MetricMap) -> list[tuple[str, str]]:
    if metric.equal:
        return [("feature weights", "equal")]
    weights = metric.weights
    shown = np.argsort(-weights, kind="stable")
    shown = shown[np.isin(shown, metric.representatives)]
    few = 3 if len(shown) >= 6 else len(shown) // 2

    def listed(features: Any) -> str:
        return ", ".join(f"{metric.name(d)} {weights[d]:.2g}" for d in features)

    kind = "weights" if metric.couplings is None else "effective weights"
    return [
        (f"largest {kind}", listed(shown[:few])),
        (f"smallest {kind}", listed(shown[::-1][:few])),
    ]


def _couplings(metric: MetricMap) -> list[tuple[str, str]]:
    if metric.couplings is None:
        return []
    told = (
        f"{metric.name(each.one)} with {metric.name(each.other)} {each.strength:.2g}"
        for each in metric.strongest_couplings(STRONGEST)
    )
    return [("strongest couplings", ", ".join(told) or "none")]
