"""The rows of ``aff.py``: cases, how they are measured, the page."""
