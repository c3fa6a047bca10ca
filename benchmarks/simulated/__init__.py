"""The rows of ``experiments.py``: cases, models, simulations, observables, plots, the page."""
