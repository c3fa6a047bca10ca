"""Checks of reference data before anything is learned from them."""

from __future__ import annotations

from kraft.data.checks.consistency import check_consistency
from kraft.data.checks.forces import check_net_forces
from kraft.data.checks.frames import (
    check_distances,
    check_duplicates,
    check_finite,
    check_size,
)
from kraft.data.checks.outliers import check_outliers
from kraft.data.checks.report import Finding, Report, Severity
from kraft.data.dataset import Dataset

__all__ = ["Finding", "Report", "Severity", "check"]

_ORDER: tuple[Severity, ...] = ("fatal", "warning", "note")


def check(dataset: Dataset) -> Report:
    """Check a dataset: values, geometries, copies, net forces, outliers, energies against forces.

    Parameters
    ----------
    dataset
        What to check; only read.

    Returns
    -------
    report
        Findings, the gravest first. After a fatal finding on sizes, values or distances the
        checks that need sound ones are left out.
    """
    findings = check_size(dataset)
    if not findings:
        findings += check_finite(dataset)
    if not findings:
        findings += check_distances(dataset)
    if not any(finding.severity == "fatal" for finding in findings):
        duplicates, representatives = check_duplicates(dataset)
        findings += duplicates
        findings += check_net_forces(dataset)
        findings += check_outliers(dataset)
        findings += check_consistency(dataset, representatives)
    return Report(tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity))))
