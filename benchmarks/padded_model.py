"""Real force fields that cost as much as larger ones: for timing simulations.

The time of a prediction depends on the number of training geometries and not on their coefficients.
A model of few frames, trained in seconds, to which more frames are added with coefficients of zero,
predicts as before, so a molecule moves sensibly in it, and takes the time of a model of all frames.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import kraft
from kraft.models.parameters import Parameters, descriptors_and_coefficients


def padded_model(dataset: kraft.Dataset, n_trained: int, n_frames: int) -> kraft.ForceField:
    """Return a force field trained on ``n_trained`` frames that costs as one of ``n_frames``."""
    parts = kraft.split(dataset, n_train=min(n_trained, n_frames), n_test=None, seed=0)
    force_field, _ = kraft.train(
        parts.train, kernel="matern52", length_scale=10.0, regularization=1e-10
    )
    parameters = force_field.parameters
    if not isinstance(parameters, Parameters):
        raise AssertionError("this is an sGDML model")
    if parameters.training_positions is None or parameters.coefficients is None:
        raise AssertionError("a trained model has its geometries and coefficients")
    if parts.test is None:
        raise ValueError(f"expected more than {n_trained} frames, got {len(dataset)}")
    rest = np.random.default_rng(0).permutation(parts.test.positions)
    more = rest[np.arange(n_frames - len(parts.train)) % len(rest)]
    positions = np.concatenate([parameters.training_positions, more])
    coefficients = np.concatenate([parameters.coefficients, np.zeros_like(more)])
    descriptors, feature_coefficients = descriptors_and_coefficients(
        positions, coefficients, parameters.cell
    )
    padded = replace(
        parameters,
        training_descriptors=descriptors,
        feature_coefficients=feature_coefficients,
        training_positions=positions,
        coefficients=coefficients,
        record=replace(parameters.record, train_indices=tuple(range(len(positions)))),
    )
    return replace(force_field, parameters=padded)
