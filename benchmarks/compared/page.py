"""The page."""

from __future__ import annotations

import json

from reporting import Figures, number, table, verdict

from .cases import CASES, MOLECULES, SIDES

FASTER = 50.0
FCHL = ("fchl19-gp", "fchl19-oqml")
WAYS = {
    "microseconds_per_geometry": "qmllib's kernels",
    "contracted": "sums made beforehand",
}


def render(rows: dict[str, Figures]) -> str:
    """Return the page."""
    parts = ["# kraft beside other machine-learned force fields", ""]
    parts += ["Made by `benchmarks/peer_comparison.py`.", "", NOTES]
    for molecule, (label, _) in MOLECULES.items():
        found = {key: row for key, row in _ordered(rows) if row["molecule"] == molecule}
        if found:
            parts += [f"## {label}", "", _figures(found)]
    parts += ["## Bars", "", table(("what", "measured", "bar", ""), _bars(rows))]
    parts += ["## Settings", "", _settings(rows)]
    missing = [name for name in CASES if name not in rows]
    if missing:
        parts += [f"Not measured: {', '.join(missing)}.", ""]
    return "\n".join(parts)


def _ordered(rows: dict[str, Figures]) -> list[tuple[str, Figures]]:
    return [(key, rows[key]) for key in CASES if key in rows] or list(rows.items())


def _figures(rows: dict[str, Figures]) -> str:
    header = ("frames", "model", "force MAE", "energy MAE", "training, s")
    header += ("prediction, µs: one geometry", "of a batch")
    return table(header, [_cells(row) for row in rows.values()])


def _cells(row: Figures) -> list[object]:
    times = row["microseconds_per_geometry"]
    batch = max(times, key=int)
    batched = f"{_micro(times[batch])} ({batch})"
    single = _micro(times["1"])
    if "contracted" in row:
        single += f" [{_micro(row['contracted']['1'])}]"
        batched += f" [{_micro(row['contracted'][batch])}]"
    return [
        row["sizes"][0],
        SIDES[row["side"]].label,
        number(row["test"]["force_mae"]),
        number(row["test"]["energy_mae"]),
        _training(row),
        single,
        batched,
    ]


def _micro(value: float) -> str:
    return f"{value:,.0f}"


def _training(row: Figures) -> str:
    seconds = row["seconds"]
    if "search" in seconds:
        return f"{seconds['training']:,.0f} + {seconds['search']:,.0f} search"
    return f"{seconds['training']:,.0f}"


def _bars(rows: dict[str, Figures]) -> list[list[str]]:
    lines = []
    for key, ours in _ordered(rows):
        if ours["side"] != "kraft":
            continue
        stem = key.removesuffix("kraft")
        for side in FCHL:
            theirs = rows.get(stem + side)
            if theirs is None:
                continue
            ratio = ours["test"]["force_mae"] / theirs["test"]["force_mae"]
            what = f"{stem.rstrip('-')}: force MAE, ratio to {SIDES[side].label}"
            lines.append([what, number(ratio), "below 1", verdict(ratio < 1.0)])
            lines += [_speed(stem, side, ours, theirs, way) for way in WAYS if way in theirs]
    return lines


def _speed(stem: str, side: str, ours: Figures, theirs: Figures, way: str) -> list[str]:
    """Return how many times faster kraft predicts; the bar is for what qmllib has."""
    mine = ours["microseconds_per_geometry"]
    alone = theirs[way]["1"] / mine["1"]
    at_best = min(theirs[way].values()) / min(mine.values())
    what = f"{stem.rstrip('-')}: times faster than {SIDES[side].label}, {WAYS[way]}"
    cells = [what, f"{alone:,.0f} one geometry, {at_best:,.0f} at best"]
    if way == "contracted":
        return [*cells, "none", ""]
    return [*cells, f"{FASTER:g}", verdict(alone >= FASTER)]


def _settings(rows: dict[str, Figures]) -> str:
    lines = []
    for key, row in _ordered(rows):
        chosen = {
            name: float(f"{value:.3g}") if isinstance(value, float) else value
            for name, value in row["settings"].items()
        }
        text = ", ".join(f"{name} {_plain(value)}" for name, value in chosen.items())
        if "epochs" in row:
            text += f"; {row['epochs']} epochs"
        lines.append([key, text, row["versions"]])
    return table(("row", "settings", "versions"), lines)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


NOTES = """\
All models of a molecule and size have the same training frames, the same 100 validation frames and
the same 300 test frames, and one thread. Force MAE is in kcal/mol/Å over Cartesian components,
energy MAE in kcal/mol. A prediction goes from positions to energy and forces; the number in
parentheses is the size of the batch.

- **kraft** is `kraft.train` with its defaults.
- **FCHL19** is qmllib's representation with its two ways to learn from energies and forces at once.
  Sigma, the cutoff, the parameters of the three-body part and the regularization are chosen by the
  force MAE on validation frames (`peers/fchl_train.py`). Prediction times are those of the kernels
  qmllib has; *in brackets* is what the same model takes when the sums over its coefficients are
  made beforehand, by a few lines of ours that qmllib does not have and that give the same numbers.
- **MACE** and **NequIP** are trained for one hour of one core's time (processor time, so that a
  busy machine does not shorten it), with small models of their authors': half the channels of the
  command in MACE's README, and NequIP's preset S. They are made for GPUs, for longer trainings and
  for more than one molecule: an hour on one core does not show how accurate they become. Their time
  for one geometry is that of a step through ASE.

What kraft reaches with 900 and 1000 frames is told in [training at scale](training-at-scale.md).
"""
