"""kraft: accurate force fields from a few hundred ab initio calculations."""

from kraft.version import __version__

__all__ = ["__version__"]
