"""Count how often the right symmetries are found, and how long it takes.

Runs `kraft.symmetry.find_permutations` on random samples of every reference data set, for several
sample sizes and seeds, and writes the table ``docs/benchmarks/symmetries.md``. With
``--peer-python`` the reference implementation, sgdml, runs on the same samples in its own
environment.

    python benchmarks/symmetry_counts.py --data ../shared --output docs/benchmarks/symmetries.md
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402

from kraft.symmetry import SymmetryResult, find_permutations  # noqa: E402


@dataclass(frozen=True)
class Case:
    """One data set, the number of symmetries expected and where that number is from."""

    file: str
    molecule: str
    expected: int
    source: str


TABLE_1 = "paper 002, Table 1"
CASES = (
    Case("data/md17_benzene_recovered.npz", "benzene, MD17", 12, TABLE_1),
    Case("data/md17_uracil_recovered.npz", "uracil, MD17", 1, TABLE_1),
    Case("data/md17_naphthalene_recovered.npz", "naphthalene, MD17", 4, TABLE_1),
    Case("data/md17_aspirin_recovered.npz", "aspirin, MD17", 6, TABLE_1),
    Case("data/aspirin_ccsd_train.npz", "aspirin, CCSD", 6, TABLE_1),
    Case("data/md17_malonaldehyde_recovered.npz", "malonaldehyde, MD17", 4, TABLE_1),
    Case("data/malonaldehyde_ccsd_t_train.npz", "malonaldehyde, CCSD(T)", 4, TABLE_1),
    Case("data/md17_ethanol_schnetpack2000.npz", "ethanol, MD17", 6, TABLE_1),
    Case("data/ethanol_ccsd_t_train.npz", "ethanol, CCSD(T)", 6, TABLE_1),
    Case("data/md17_toluene_recovered.npz", "toluene, MD17", 12, TABLE_1),
    Case("data/md17_paracetamol_train1000.npz", "paracetamol, MD17", 12, TABLE_1),
    Case("models/water_dimer_dataset.npz", "water dimer", 8, "sgdml's published model"),
    Case("data/aff_aspirin_new_musen.npz", "aspirin, AFF", 6, TABLE_1),
    Case("data/aff_glucose_alpha.npz", "alpha-glucose, AFF", 1, "chiral, nothing turns"),
    Case("data/alkane_C4.npz", "n-butane", 36, "2 methyl rotors, mirror, exchange of ends"),
    Case("data/alkane_C9.npz", "n-nonane", 36, "2 methyl rotors, mirror, exchange of ends"),
    Case("data/3bpa_300K.npz", "3BPA, 300 K", 4, "mirror, phenyl flip"),
    Case("data/3bpa_mixedT.npz", "3BPA, 300 to 1200 K", 8, "the same, exchange in the amine"),
    Case("data/cumulene_C9H4_torsion_profile.npz", "C9H4, torsion scan", 8, "point group at 90°"),
    Case("data/ac_ala3_nhme_gfn2.npz", "Ac-Ala3-NHMe, GFN2", 243, "5 methyl rotors"),
    Case("data/catcher_gfn2.npz", "buckyball catcher, GFN2, 2 ps", 4, "as two mirror planes"),
)

PEER = """
import json, sys, time, io, contextlib
import numpy as np  # noqa: E402
from sgdml.utils import perm
for job in json.load(open(sys.argv[1])):
    with np.load(job["file"]) as archive:
        positions, numbers = archive["R"][job["frames"]], archive["z"]
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = perm.find_perms(positions, numbers, max_processes=1)
    print("RESULT", len(found), time.perf_counter() - start, flush=True)
"""

NOTES = """
How to read it: *found* is how many of the runs (sample sizes {sizes}, {n_seeds} seeds each; the
sample itself is drawn anew for each; fewer seeds where a molecule's time ran out) gave exactly the
expected number of permutations, the identity included. *Support* is the least number of pairs of
geometries that show a generator of the group, over all runs; 0 where the geometries show it by
being exactly symmetric themselves or a run found no generator. Seconds are the median on one
thread of {machine}.

- **Ac-Ala3-NHMe.** The literature's 18 cannot be a group of what this molecule can do: it is
  chiral, so no permutation may invert a center, and what remains is a third of a turn of each of
  its five methyl groups, 3^5 = 243 permutations. All five turn in these data, each supported by
  many pairs of geometries, and 18 does not divide 243: a set of 18 must contain exchanges of two
  hydrogens of a methyl group, which no geometry visits. Where 243 cost too much, an upper bound
  takes a subgroup: {bounded}.
- **Buckyball catcher.** That the literature's 48 contains rotations of the fullerene in the
  catcher is inferred, not stated there. The 2 ps at 400 K here show four permutations, as many as
  two mirror planes of the complex would give.
- **3BPA.** At 300 K there are 4 permutations. The file of mixed temperatures (300 to 1200 K) shows
  8: there the two hydrogens of the amine group exchange places, too. It does not say at which of
  the temperatures they do.
- **C9H4.** A rigid scan shows the exchange of one end's hydrogens only where the geometry is its
  own image, at 90°.
"""


def frames_of(n_frames: int, size: int, seed: int) -> np.ndarray:
    random = np.random.default_rng([seed, size])
    return np.sort(random.choice(n_frames, min(size, n_frames), replace=False))


def run_case(
    path: Path, sizes: list[int], seeds: int, budget_left: float
) -> tuple[list[tuple[int, int, SymmetryResult]], int, int]:
    with np.load(path) as archive:
        positions, numbers = archive["R"].astype(np.float64), archive["z"]
    results = []
    begin = time.perf_counter()
    for seed in range(seeds):
        for size in sizes:
            if size > len(positions) and size != min(s for s in sizes if s >= len(positions)):
                continue
            frames = frames_of(len(positions), size, seed)
            result = find_permutations(positions[frames], numbers, seed=seed)
            results.append((size, seed, result))
        if time.perf_counter() - begin > budget_left:
            break
    return results, len(numbers), len(positions)


def run_peer(python: str, path: Path, sizes: list[int], seeds: int, n_frames: int) -> str:
    jobs = [
        {"file": str(path.resolve()), "frames": frames_of(n_frames, sizes[0], seed).tolist()}
        for seed in range(seeds)
    ]
    with tempfile.TemporaryDirectory() as folder:
        script, job_file = Path(folder) / "peer.py", Path(folder) / "jobs.json"
        script.write_text(PEER)
        job_file.write_text(json.dumps(jobs))
        try:
            done = subprocess.run(
                [python, str(script), str(job_file)],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "over 120 s"
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        return "failed"
    counts = Counter(int(line[1]) for line in lines)
    seconds = statistics.median(float(line[2]) for line in lines)
    crashed = f", no result ({seeds - len(lines)} times)" if len(lines) < seeds else ""
    return f"{spell(counts)}{crashed}; {seconds:.1f} s"


def spell(counts: Counter[int]) -> str:
    return ", ".join(f"{count} ({times} times)" for count, times in counts.most_common())


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "this machine"
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "this machine"


def bounded(data: Path) -> str:
    path = data / "data/ac_ala3_nhme_gfn2.npz"
    if not path.exists():
        return "not run"
    with np.load(path) as archive:
        positions, numbers = archive["R"][::12], archive["z"]
    parts = []
    for bound in (18, 100):
        found = find_permutations(positions, numbers, max_permutations=bound)
        parts.append(f"{len(found)} permutations for a bound of {bound}")
    return ", ".join(parts)


def row_of(case: Case, results: list, n_atoms: int, sizes: list[int]) -> str:
    counts = Counter(len(result) for _, _, result in results)
    by_size = []
    for size in sizes:
        group = [len(result) for s, _, result in results if s == size]
        right = sum(count == case.expected for count in group)
        by_size.append(f"{right}/{len(group)}" if group else "-")
    support = min(
        (min((g.support for g in result.generators), default=0) for _, _, result in results),
        default=0,
    )
    seconds = statistics.median(result.seconds for _, _, result in results)
    return (
        f"| {case.molecule} | {n_atoms} | {case.expected} | {case.source} | {spell(counts)} | "
        f"{' | '.join(by_size)} | {support} | {seconds:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/symmetries.md"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 500, 1000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds-per-case", type=float, default=25.0)
    parser.add_argument("--peer-python", help="Python of an environment with sgdml")
    options = parser.parse_args()
    found_header = " | ".join(f"found, {size}" for size in options.sizes)
    header = (
        f"| molecule | atoms | expected | because | counts | {found_header} | support | seconds |"
    )
    columns = header.count("|") - 1
    peer_note = ""
    if options.peer_python:
        header += f" sgdml 1.0.3, {options.sizes[0]} frames |"
        columns += 1
        peer_note = (
            f"sgdml ran on the first {min(3, options.seeds)} samples of the smallest size.\n"
        )
    lines = [
        "# Symmetries found in data",
        "",
        "Made by `python benchmarks/symmetry_counts.py`.",
        "",
        header,
        "|" + "---|" * columns,
    ]
    for case in CASES:
        path = options.data / case.file
        if not path.exists():
            print(f"{case.molecule}: no {path}, left out")
            continue
        results, n_atoms, n_frames = run_case(
            path, options.sizes, options.seeds, options.seconds_per_case
        )
        row = row_of(case, results, n_atoms, options.sizes)
        if options.peer_python:
            seeds = min(3, options.seeds)
            row += f" {run_peer(options.peer_python, path, options.sizes, seeds, n_frames)} |"
        print(row, flush=True)
        lines.append(row)
    notes = NOTES.format(
        sizes=", ".join(map(str, options.sizes)),
        n_seeds=options.seeds,
        machine=machine(),
        bounded=bounded(options.data),
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines) + "\n" + notes + peer_note, encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
