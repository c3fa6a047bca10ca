"""Preconditioners compared: spectra, iterations, rules for their size, accuracy and cost.

After paper 004 and figures 3 and 4 of paper 000.
"""
