"""The version of kraft."""

__version__ = "0.1.0"
