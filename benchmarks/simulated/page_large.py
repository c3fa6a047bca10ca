"""The tetrapeptide and the catcher."""

from __future__ import annotations

from reporting import Figures, number, table

from .sections import Rows, Shown, agree, comparison, percent, plots

KINDS = ("full", "reduced")
LONG = 100.0
"""ps without a stop that count as stable."""
NEAR = 50.0
"""1/cm within which a stretch counts as the paper's."""


def peptide(rows: Rows, shown: Shown) -> list[str]:
    """Return the tetrapeptide's section."""
    stable = [kind for kind in KINDS if f"peptide-{kind}" in rows]
    pulled = [kind for kind in KINDS if f"steered-{kind}" in rows]
    if not stable and not pulled:
        return []
    parts = ["## Ac-Ala3-NHMe", ""]
    parts += comparison(_peptide_verdicts(rows, stable, pulled))
    if stable:
        parts += [_stability(rows, stable), *plots(shown, "peptide_ramachandran")]
    if pulled:
        parts += [_unfolding(rows, pulled), *plots(shown, "peptide_unfolding")]
    return [*parts, PEPTIDE]


def _peptide_verdicts(rows: Rows, stable: list[str], pulled: list[str]) -> list[list[str]]:
    """Compare with the paper."""
    lines = []
    for kind in stable:
        run = rows[f"peptide-{kind}"]["sampling"]
        ours = f"{run['n_stopped']} of {run['replicas']} stopped in {run['total_ps']:.0f} ps"
        verdict = "yes" if run["n_stopped"] == 0 and run["total_ps"] >= LONG else "no"
        lines.append([f"stable at 300 K, {kind} descriptor", "3 ns", ours, verdict])
    if len(stable) == 2:
        full, reduced = (rows[f"peptide-{kind}"]["gyration"] for kind in KINDS)
        gap = reduced["mean"] - full["mean"]
        error = (full["error"] ** 2 + reduced["error"] ** 2) ** 0.5
        same = "yes" if abs(gap) < 2.0 * error else "no"
        ours = f"{gap:+.2f} ± {error:.2f}"
        lines.append(["radius of gyration, reduced less full, Å", "alike", ours, same])
    for kind in pulled:
        time = rows[f"steered-{kind}"]["pulled"]["mean_reaches_fs"]
        ours = "not reached" if time is None else f"{time:.0f} fs"
        verdict = "yes" if time is not None and 500.0 <= time <= 1000.0 else "no"
        what = f"10 pN: mean radius of gyration reaches 3.8 Å, {kind} descriptor"
        lines.append([what, "about 750 fs", ours, verdict])
    return lines


def _stability(rows: Rows, kinds: list[str]) -> str:
    regions = list(rows[f"peptide-{kinds[0]}"]["regions"])
    header = ("descriptor", "simulated at 300 K", "stopped", "gyration, Å", *regions)
    lines = []
    for kind in kinds:
        row = rows[f"peptide-{kind}"]
        run, radius = row["sampling"], row["gyration"]
        lines.append(
            [
                f"{kind}, {_features(row)} features",
                f"{run['total_ps']:.0f} ps in {run['replicas']} replicas",
                str(run["n_stopped"]),
                f"{radius['mean']:.2f} ± {radius['error']:.2f}",
                *(percent(row["regions"][name]) for name in regions),
            ]
        )
    return table(header, lines)


def _features(row: Figures) -> int:
    return int(next(iter(row["models"].values()))["n_features"])


def _unfolding(rows: Rows, kinds: list[str]) -> str:
    header = (
        *(
            "descriptor",
            "force",
            "runs",
            "gyration at start and end, Å",
            "distance of ends at end, Å",
        ),
        *("mean reaches 3.8 Å", "runs that do", "10 pN less none, at end, Å"),
    )
    lines = []
    for kind in kinds:
        row = rows[f"steered-{kind}"]
        for what, force in (("pulled", f"{row['pull_pN']:g} pN"), ("free", "none")):
            found = row[what]
            reached = found["mean_reaches_fs"]
            gap = row["difference"]
            radius, apart = found["last_gyration"], found["last_distance"]
            lines.append(
                [
                    kind,
                    force,
                    str(found["n"]),
                    f"{row['start_gyration']:.2f}, {radius[0]:.2f} ± {radius[1]:.2f}",
                    f"{apart[0]:.1f} ± {apart[1]:.1f}",
                    "not" if reached is None else f"{reached:.0f} fs",
                    f"{found['n_reached']} of {found['n']}",
                    f"{gap['mean']:+.2f} ± {gap['error']:.2f}" if what == "pulled" else "",
                ]
            )
    return table(header, lines)


def catcher(rows: Rows, shown: Shown) -> list[str]:
    """Return the catcher's section."""
    there = [kind for kind in ("md", "pimd") if f"catcher-{kind}" in rows]
    if not there:
        return []
    lines = []
    names = {
        "md": ("classical", "about 3100", 3100.0),
        "pimd": ("path integrals", "near 3000", 3000.0),
    }
    for kind in there:
        name, paper, place = names[kind]
        band = rows[f"catcher-{kind}"]["hydrogen_spectrum"]["stretch"]
        what = f"C-H stretch, {name}, 1/cm"
        lines.append(
            [
                what,
                paper,
                f"{band[0]:.0f} (mean of 2700 to 3400: {band[1]:.0f})",
                agree(band[0], place, NEAR),
            ]
        )
    header = (
        "nuclei",
        "RMSD to the start, Å",
        "largest",
        "Φ, mean and largest",
        "energy stationary",
    )
    motion = []
    for kind in there:
        row = rows[f"catcher-{kind}"]
        deviation = row["rmsd"]
        motion.append(
            [
                names[kind][0],
                f"{deviation['mean']:.3f} ± {deviation['error']:.3f}",
                number(row["rmsd_max"]),
                f"{row['rotation_mean']:.0f}°, {row['rotation_max']:.0f}°",
                f"{sum(row['stationary'])} of {len(row['stationary'])} runs",
            ]
        )
    return [
        "## Buckyball catcher",
        "",
        *comparison(lines),
        table(header, motion),
        *plots(shown, "catcher_motion", "catcher_spectra"),
        CATCHER,
    ]


PEPTIDE = """\
**The paper** (003) finds the model with 60 % of the features stable at 300 K like the full one, and
both unfold under 10 pN like its PBE+MBD reference: the mean of 30 runs reaches a radius of gyration
of 3.8 Å after about 750 fs. Its data (PBE+MBD, 500 K) are not at hand; ours are those of GFN2-xTB,
so times need not be the same, while the full and the reduced descriptor should do alike. The pull
starts at the most compact geometry of the data, relaxed, with velocities at 300 K; radii are
weighted with masses. Runs without a force have the same random numbers, and show how much of the
unfolding is due to heat: 10 pN over 5 Å are 0.03 eV, little more than kT.
"""

CATCHER = """\
**The paper** (000, figures S1 to S3) runs nanoseconds; it puts the C-H stretch at about 3100 /cm
for classical nuclei and nearer to 3000 /cm for quantum ones, finds low modes alike, and mean
energies that settle. The lengths here are a thousandth of that: the stretch is a matter of
femtoseconds and can be compared, slow turns of the ball cannot. Φ is the angle of the ball's
rotation as seen from the catcher since the start (the paper gives it for the nanotubes). Our data
are those of GFN2-xTB, the paper's those of PBE+MBD, so frequencies need not be the same. RMSD and Φ
are the centroid's for path integrals.
"""
