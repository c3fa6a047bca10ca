"""The command ``kraft``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from kraft.cli.analyze import analyze
from kraft.cli.boundary import EXIT_USAGE, guarded
from kraft.cli.calibrate import calibrate
from kraft.cli.console import err, out
from kraft.cli.convert import convert
from kraft.cli.demo import demo
from kraft.cli.estimate import estimate
from kraft.cli.frequencies import frequencies
from kraft.cli.info import info
from kraft.cli.md import md
from kraft.cli.neb import neb
from kraft.cli.outputs import written_files
from kraft.cli.pimd import ipi_driver, pimd
from kraft.cli.predict import predict
from kraft.cli.reduce import reduce
from kraft.cli.relax import relax
from kraft.cli.scan import scan
from kraft.cli.select import select
from kraft.cli.study import study
from kraft.cli.test import test
from kraft.cli.train import train
from kraft.version import __version__

DEBUG_FLAG = "--debug"

_HELP = """Accurate force fields from a few hundred ab initio calculations.

Start with `kraft demo`, then `kraft info DATA` and `kraft train DATA --n-train 200`.
`kraft COMMAND --help` explains a command; --debug, anywhere, shows the traceback of an error.
"""

app = App(name="kraft", help=_HELP, version=__version__, help_format="plaintext")
for _command in (
    demo,
    info,
    convert,
    train,
    test,
    predict,
    relax,
    frequencies,
    neb,
    scan,
    md,
    pimd,
    ipi_driver,
    calibrate,
    select,
    analyze,
    reduce,
    estimate,
    study,
):
    app.command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    arguments
        Words after ``kraft``; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG_FLAG in words
    words = [word for word in words if word != DEBUG_FLAG]
    written_files.clear()
    return guarded(lambda: _run(words), debug=debug)


def _run(words: list[str]) -> int:
    try:
        command, bound, _ = app.parse_args(
            words, console=out, error_console=err, exit_on_error=False, print_error=True
        )
    except CycloptsError:
        return EXIT_USAGE
    return command(*bound.args, **bound.kwargs) or 0


if __name__ == "__main__":
    sys.exit(main())
