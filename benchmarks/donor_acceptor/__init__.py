"""The donor-bridge-acceptor molecule of ``contributions.py``: built, sampled, labelled, drawn."""
