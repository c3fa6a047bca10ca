"""The rows of ``training_at_scale.py``: what is trained, how it is measured, how it is shown."""
