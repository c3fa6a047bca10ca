"""How long work reports where it is, without printing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callable told about work in stages; an interface may show it, libraries stay silent.

    It is called with the name of the stage, the amount done and the total; raising from it
    (``KeyboardInterrupt``, say) stops the work cleanly.
    """

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Take note that ``done`` of ``total`` (0 when not known) is done of this stage."""


def silent(stage: str, done: int, total: int, /) -> None:
    """Report nothing: the default everywhere."""
