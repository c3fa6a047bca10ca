"""Where lines of spectra are looked for, in 1/cm."""

TORSION = (120.0, 340.0)
"""The hydroxyl torsion of ethanol."""

STRETCH = (2700.0, 3400.0)
"""The C-H stretch of the catcher."""
