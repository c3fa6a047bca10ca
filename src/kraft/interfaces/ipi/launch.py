"""Runs i-PI in a process of its own: ``python -m kraft.interfaces.ipi.launch INPUT DESCRIPTOR``.

What the command ``i-pi`` does, and steps told to whoever started it through the pipe of that
descriptor. When nobody reads there any more, i-PI stops cleanly: nothing goes on unseen.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_INTERVAL = 0.2


def _tell(simulation: Any, descriptor: int) -> None:
    """Write the step to the pipe now and then."""
    while True:
        time.sleep(_INTERVAL)
        try:
            os.write(descriptor, b"%d\n" % simulation.step)
        except OSError:
            os.kill(os.getpid(), signal.SIGTERM)  # i-PI handles it: a checkpoint, then the end
            return


def main(input_file: str, descriptor: int) -> None:
    """Run the simulation of an input file in the present folder."""
    from ipi.engine.simulation import Simulation
    from ipi.utils.softexit import softexit

    with Path(input_file).open(encoding="utf-8") as handle:
        simulation = Simulation.load_from_xml(handle)
    threading.Thread(target=_tell, args=(simulation, descriptor), daemon=True).start()
    softexit.hard_exit = True
    simulation.run()
    softexit.trigger(status=simulation.exit_status, message=simulation.exit_message)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
