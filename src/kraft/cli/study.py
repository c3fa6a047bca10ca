"""``kraft study``: preconditioners compared on one's own data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kraft.analysis.preconditioner_study.candidates import Candidate, candidates
from kraft.analysis.preconditioner_study.iterations import Budget, IterationCount
from kraft.analysis.preconditioner_study.log import MeasurementLog
from kraft.analysis.preconditioner_study.rules import (
    PAPER_RULES,
    Prediction,
    RulePoint,
    compare_rules,
    fit_rule,
)
from kraft.analysis.preconditioner_study.spectra import Spectrum
from kraft.analysis.preconditioner_study.study import Study
from kraft.analysis.preconditioner_study.systems import StudySystem, study_system
from kraft.cli.console import out
from kraft.cli.options import ComputeOptions, DataOptions, Flag, parse_memory
from kraft.cli.outputs import check_json, check_output, note_written, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.summary import counted, print_facts, print_notices
from kraft.cli.training_options import MODEL_GROUP, SymmetryOptions
from kraft.core.errors import OptionError
from kraft.core.files import atomic_path
from kraft.data import split
from kraft.data.checks import check
from kraft.reports.figures import save_figure
from kraft.reports.study_figures import (
    IterationPanel,
    SpectrumPanel,
    TimePanel,
    iterations_figure,
    spectra_figure,
    time_figure,
)
from kraft.reports.study_tables import (
    StudyTable,
    iterations_details,
    iterations_overview,
    prediction_table,
    spectra_table,
)
from kraft.solvers.rank_rule import RankRule

STUDY_GROUP = Group("Study", sort_key=35)
LOG_NAME = "measurements.jsonl"
METHODS = ("uniform", "incomplete-cholesky", "random-pivoting", "jacobi")
RANKS = ("1%", "2.5%", "5%", "10%")

Several = Parameter(consume_multiple=True, negative="")


@Parameter(name="*", group=STUDY_GROUP)
@dataclass(frozen=True)
class StudyOptions:
    """Which preconditioners, and when to give up."""

    methods: Annotated[
        tuple[str, ...], Several, Parameter(help="Ways to choose columns; see the documentation.")
    ] = METHODS
    ranks: Annotated[
        tuple[str, ...], Several, Parameter(help="Numbers of columns, or percentages of n = 3NM.")
    ] = RANKS
    remainders: Annotated[
        tuple[str, ...],
        Several,
        Parameter(help="shift (the papers'), blocks, or blocks:5 for blocks of five geometries."),
    ] = ("shift", "blocks")
    tolerance: Annotated[float, Parameter(help="Relative residual to converge to.")] = 1e-4
    max_iterations: Annotated[int, Parameter(help="Iterations after which to give up.")] = 3000
    max_memory: Annotated[str | None, Parameter(help="For the kernel matrix; what is free.")] = None
    spectra: Annotated[
        bool, Flag, Parameter(help="Compute eigenvalues too; takes minutes for large systems.")
    ] = False

    def candidates(self, n_labels: int) -> tuple[Candidate, ...]:
        """Return the preconditioners asked for."""
        ranks = sorted({parse_rank(text, n_labels) for text in self.ranks})
        return candidates(self.methods, self.remainders, ranks)

    @property
    def budget(self) -> Budget:
        """Tolerance and limits; OptionError when one makes no sense."""
        if not 0.0 < self.tolerance < 1.0 or self.max_iterations < 1:
            raise OptionError(
                "Expected a tolerance between 0 and 1 and at least one iteration, got "
                f"{self.tolerance:g} and {self.max_iterations}."
            )
        return Budget(self.tolerance, self.max_iterations)


@Parameter(name="*", group=MODEL_GROUP)
@dataclass(frozen=True)
class SystemOptions:
    """The linear system; the defaults are those of the papers."""

    kernel: Annotated[
        Literal["matern52", "matern72", "gaussian"], Parameter(help="Radial kernel.")
    ] = "matern52"
    length_scale: Annotated[
        float, Parameter(name=["--length-scale", "--sigma"], help="In 1/Å (sgdml calls it sig).")
    ] = 10.0
    regularization: Annotated[float, Parameter(help="Added to the diagonal.")] = 1e-10


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What was measured, and the rules that follow from it."""

    system: StudySystem
    counts: tuple[IterationCount, ...]
    spectra: Mapping[Candidate, Spectrum]
    points: Mapping[str, tuple[RulePoint, ...]]
    rules: Mapping[str, RankRule]
    predictions: Mapping[str, tuple[Prediction, ...]]


def study(
    data: Path,
    /,
    *,
    n_train: int,
    output_dir: Annotated[Path, Parameter(name=["--output-dir", "--output", "-o"])] = Path(
        "kraft-study"
    ),
    seed: int = 0,
    options: StudyOptions = StudyOptions(),
    model: SystemOptions = SystemOptions(),
    symmetry: SymmetryOptions = SymmetryOptions(),  # noqa: B008
    reading: DataOptions = DataOptions(),  # noqa: B008
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    json: Annotated[Path | None, Parameter(group="Results")] = None,
) -> None:
    """Compare preconditioners of the iterative solver: iterations, run times, the best rank.

    Finished measurements are kept in the output folder, so an interrupted study goes on where it
    was when the same command is given again.

    Parameters
    ----------
    data
        Reference data.
    n_train
        Frames whose system is studied.
    output_dir
        Folder for tables, figures and measurements.
    seed
        Of every random choice.
    json
        File to write all figures to, for programs.
    """
    compute.apply()
    budget = options.budget
    options.candidates(1)  # finds malformed options before anything is read
    memory = None if options.max_memory is None else parse_memory(options.max_memory)
    check_json(json)
    check_output(output_dir / LOG_NAME, overwrite=True)
    dataset = reading.read(data)
    check(dataset).raise_if_fatal()
    print_notices(dataset.notices)
    with progress_bars() as progress:
        training = split(dataset, n_train=n_train, seed=seed, progress=progress).train
        system = study_system(
            training,
            kernel=model.kernel,
            length_scale=model.length_scale,
            regularization=model.regularization,
            permutations=symmetry.for_dataset(dataset),
            max_permutations=symmetry.max_permutations,
            seed=seed,
            progress=progress,
        )
        log = MeasurementLog(output_dir / LOG_NAME)
        made = Study(system, log, seed=seed, max_memory=memory, progress=progress)
        result = measure(made, options.candidates(system.n_labels), budget, options.spectra)
    _print(result, budget)
    for path in _write(result, output_dir):
        note_written(path)
    out.print(f"\nWrote tables, figures and measurements to {output_dir}.", soft_wrap=True)
    write_json(json, _figures(result))


def measure(
    made: Study, chosen: Sequence[Candidate], budget: Budget, with_spectra: bool
) -> StudyResult:
    """Make all measurements of a study, or find them in its log."""
    counts = made.iterations(chosen, budget)
    spectra = made.spectra(chosen) if with_spectra else {}
    n_labels = made.system.n_labels
    points: dict[str, tuple[RulePoint, ...]] = {}
    rules: dict[str, RankRule] = {}
    predictions: dict[str, tuple[Prediction, ...]] = {}
    for series in dict.fromkeys(count.candidate.series for count in counts if count.rank):
        some = [count for count in counts if count.candidate.series == series]
        points[series] = made.run_times(some)
        rule = fit_rule(points[series], n_labels)
        compared = {"default": PAPER_RULES["default"]}
        if rule is not None:
            rules[series] = compared["specific"] = rule
        if points[series]:
            predictions[series] = compare_rules(points[series], n_labels, compared)
    return StudyResult(made.system, counts, spectra, points, rules, predictions)


def parse_rank(text: str, n_labels: int) -> int:
    """Return the rank that ``787`` or ``5%`` means.

    Raises
    ------
    OptionError
        When the text is neither.

    Examples
    --------
    >>> parse_rank("787", 15750), parse_rank("5%", 15750)
    (787, 788)
    """
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = 0.0
    wanted = number * n_labels / 100.0 if text.endswith("%") else number
    if not 0.0 < number < float("inf") or (text.endswith("%") and number > 100.0):
        raise OptionError(
            f"Expected a number of columns or a percentage, such as 500 or 5%, got {text!r}."
        )
    return max(1, round(wanted))


def _print(result: StudyResult, budget: Budget) -> None:
    system = result.system
    print_facts(
        f"Linear system of {counted(system.n_train, 'frame')} of {system.molecule}",
        [
            ("force components", f"n = {system.n_labels}"),
            ("solved for", f"{system.size}, without rigid motions"),
            ("symmetries", counted(system.n_permutations, "permutation")),
            ("length scale", f"{system.length_scale:g} /Å"),
            ("regularization", f"{system.regularization:g}"),
        ],
    )
    title = f"Iterations to a relative residual of {budget.tolerance:g}"
    _print_table(title, iterations_overview(result.counts))
    for series, rule in result.rules.items():
        out.print(
            f"  {series}: #/n = ({rule.k_min:.3g} / k)^{rule.m:.2f}", soft_wrap=True, style="dim"
        )
    if result.spectra:
        _print_table("Eigenvalues of the preconditioned matrix", spectra_table(result.spectra))
    fastest = fastest_series(result.points)
    if fastest is None:
        out.print("Nothing converged: allow more columns or iterations.", style="yellow")
        return
    table = prediction_table(result.points[fastest], result.predictions[fastest])
    _print_table(f"Ranks for {fastest}, the fastest", table)


def fastest_series(points: Mapping[str, Sequence[RulePoint]]) -> str | None:
    """Return the series with the shortest run time at any rank, None when nothing converged."""
    times = {name: min(p.seconds for p in some) for name, some in points.items() if some}
    return min(times, key=times.__getitem__) if times else None


def _print_table(title: str, content: StudyTable) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(content.header[0])
    for name in content.header[1:]:
        table.add_column(name, justify="right")
    for row in content.rows:
        table.add_row(*map(Text, row))
    out.print(Text(title, style="bold"))
    out.print(Padding(table, (0, 0, 0, 2), expand=False))


def _write(result: StudyResult, folder: Path) -> list[Path]:
    """Write tables and figures and return their paths."""
    system = result.system
    title = f"{system.molecule}, n = {system.n_labels}"
    texts = {
        "iterations.csv": iterations_details(result.counts).csv(),
        "study.md": _markdown(result),
    }
    figures = {
        "iterations.png": iterations_figure([IterationPanel(title, system.n_labels, result.counts)])
    }
    panels = [
        TimePanel(series, some, {each.rule: each.rank for each in result.predictions[series]})
        for series, some in result.points.items()
        if some
    ]
    if panels:
        figures["times.png"] = time_figure(panels, title=title)
    if result.spectra:
        texts["spectra.csv"] = spectra_table(result.spectra).csv()
        figures["spectra.png"] = spectra_figure(spectrum_panels(result.spectra), title=title)
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for name, figure in figures.items():
        save_figure(figure, folder / name)
    return [folder / name for name in (*texts, *figures)]


def spectrum_panels(spectra: Mapping[Candidate, Spectrum]) -> list[SpectrumPanel]:
    """Return a panel for each rank; methods without columns are in all of them."""
    ranks = sorted({candidate.rank for candidate in spectra if candidate.rank}) or [0]
    return [
        SpectrumPanel(
            f"k = {rank}",
            {c.series: s for c, s in spectra.items() if c.rank in (0, rank)},
        )
        for rank in ranks
    ]


def _markdown(result: StudyResult) -> str:
    system = result.system
    parts = [
        f"# Preconditioners for {system.molecule}",
        f"{system.n_train} geometries, n = {system.n_labels} force components, {system.size} "
        f"without rigid motions; {system.n_permutations} symmetries, {system.kernel}, length scale "
        f"{system.length_scale:g} /Å, regularization {system.regularization:g}.",
        "## Iterations",
        iterations_overview(result.counts).markdown(),
    ]
    for series, predicted in result.predictions.items():
        table = prediction_table(result.points[series], predicted)
        parts += [f"## Ranks for {series}", table.markdown()]
        if series in result.rules:
            rule = result.rules[series]
            parts.append(f"#/n = (k_min/k)^m with k_min = {rule.k_min:.3g} and m = {rule.m:.2f}.")
    if result.spectra:
        parts += ["## Spectra", spectra_table(result.spectra).markdown()]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _figures(result: StudyResult) -> dict[str, Any]:
    system = result.system
    return {
        "n_train": system.n_train,
        "n_labels": system.n_labels,
        "n_unknowns": system.size,
        "n_symmetries": system.n_permutations,
        "kernel": system.kernel,
        "length_scale": system.length_scale,
        "regularization": system.regularization,
        "iterations": [dataclasses.asdict(count) for count in result.counts],
        "rules": {name: dataclasses.asdict(rule) for name, rule in result.rules.items()},
        "predictions": {
            name: [dataclasses.asdict(each) for each in some]
            for name, some in result.predictions.items()
        },
        "condition_numbers": {
            candidate.key: spectrum.condition_number
            for candidate, spectrum in result.spectra.items()
        },
    }
