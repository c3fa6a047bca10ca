"""Path-integral molecular dynamics with i-PI: the force field as its driver, and whole runs.

The driver (:mod:`kraft.interfaces.ipi.driver`) and the client of i-PI's sockets need no i-PI
themselves; :func:`run_pimd` starts it.
"""

from kraft.interfaces.ipi.bead_watch import BeadAlarm
from kraft.interfaces.ipi.driver import DRIVER_FILE, KraftDriver
from kraft.interfaces.ipi.folder import DriverOptions, prepare
from kraft.interfaces.ipi.input_file import PathIntegral
from kraft.interfaces.ipi.results import PimdRun, read_extras, read_table
from kraft.interfaces.ipi.run import IpiError, run_pimd
from kraft.interfaces.ipi.socket_client import Address, serve

__all__ = [
    "DRIVER_FILE",
    "Address",
    "BeadAlarm",
    "DriverOptions",
    "IpiError",
    "KraftDriver",
    "PathIntegral",
    "PimdRun",
    "prepare",
    "read_extras",
    "read_table",
    "run_pimd",
    "serve",
]
