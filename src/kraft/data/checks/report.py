"""What the checks found, as data: a command line prints it, a training run stops on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kraft.core.errors import DataError

Severity = Literal["fatal", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing found in a dataset.

    Parameters
    ----------
    severity
        ``"fatal"`` stops a training, ``"warning"`` deserves a look, ``"note"`` informs.
    code
        Stable name for programs, for example ``"duplicate-frames"``.
    message
        What was found and what it means, numbers in the dataset's display units.
    advice
        What to do about it; empty where nothing needs doing.
    frames
        Numbers of the frames concerned; empty when it concerns all.
    """

    severity: Severity
    code: str
    message: str
    advice: str = ""
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class Report:
    """All findings on one dataset, the gravest first."""

    findings: tuple[Finding, ...]

    @property
    def fatal(self) -> tuple[Finding, ...]:
        """Findings that stop a training."""
        return self._of("fatal")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that deserve a look."""
        return self._of("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Findings that only inform."""
        return self._of("note")

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all findings."""
        return tuple(finding.code for finding in self.findings)

    def raise_if_fatal(self) -> None:
        """Raise when a finding is fatal.

        Raises
        ------
        DataError
            With the message and advice of every fatal finding.
        """
        if self.fatal:
            raise DataError(" ".join(f"{f.message} {f.advice}".strip() for f in self.fatal))

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == severity)
