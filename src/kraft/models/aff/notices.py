"""What a person should read after an atomized force field was trained."""

from __future__ import annotations

from kraft.data.dataset import Dataset
from kraft.models.aff.choice import AtomizedChoice
from kraft.models.aff.energy_choice import EnergyChoice
from kraft.models.aff.solution import AtomizedSolution

NAMES = {
    "length_scale": "range of the forces",
    "regularization": "nugget of the forces",
    "energy_length_scale": "range of the energies",
    "energy_regularization": "nugget of the energies",
}

POOR_ENERGIES = 0.5
"""Error of the energies, relative to their spread, above which a person is warned of them."""


def atomized_notices(
    training: Dataset,
    choice: AtomizedChoice,
    energy_choice: EnergyChoice | None,
    solution: AtomizedSolution,
) -> tuple[str, ...]:
    """Return the notices of the data, the choice and the solution."""
    at_bound = choice.at_bound + (() if energy_choice is None else energy_choice.at_bound)
    notices = list(training.notices)
    notices += [
        f"The {NAMES[name]} ended at a bound of the search; the data may not determine it. Try "
        "another kernel or more training geometries, or set it yourself."
        for name in at_bound
    ]
    if choice.raised_from is not None:
        notices.append(
            f"The nugget chosen at first, {choice.raised_from:.1e}, is too small for rounding in "
            f"systems of so many labels, which could not be solved with it: it was raised to "
            f"{choice.regularization:.1e}. The model's errors may be larger for it."
        )
    if energy_choice is None:
        notices.append(
            "The data have no energies, so this model predicts forces only: its energies are zero."
        )
    notices += _poor_energies(training, energy_choice)
    iterative = [outcome for outcome in solution.outcomes if outcome.solver == "iterative"]
    if iterative:
        notices.append(
            f"{len(iterative)} of {len(solution.outcomes)} atom sets did not fit the memory and "
            f"were solved iteratively, to a relative residual of "
            f"{max(outcome.relative_residual for outcome in iterative):.1e} at worst."
        )
    jitter = max(outcome.jitter for outcome in solution.outcomes)
    if jitter > 0.0:
        notices.append(
            f"Rounding made a covariance indefinite, so up to {jitter:.1e} was added to its "
            "diagonal beyond the nugget."
        )
    return tuple(notices)


def _poor_energies(training: Dataset, choice: EnergyChoice | None) -> list[str]:
    """Tell where the energies learned little; few geometries suffice for forces, not for them."""
    if training.energies is None or choice is None or choice.held_out_error is None:
        return []
    spread, units = float(training.energies.std()), training.units
    if not choice.held_out_error > POOR_ENERGIES * spread:
        return []
    error, whole = (
        f"{value / units.energy_factor:.3g} {units.energy_label}"
        for value in (choice.held_out_error, spread)
    )
    return [
        f"Predicted energies tell little: where they were held out they are off by {error} (root "
        f"mean square), and the training energies spread by {whole}. The forces are not concerned. "
        "For energies, train on more geometries or take sGDML (`--model sgdml`)."
    ]
