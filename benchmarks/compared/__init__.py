"""The rows of ``peer_comparison.py``: kraft beside FCHL19, MACE and NequIP."""
