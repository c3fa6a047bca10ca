"""Rows of ``reduction.py``: how they are measured and shown."""
