"""Training with reduced descriptors and other feature functions."""

import numpy as np
import pytest
from molecules import BENZENE, CHIRAL, WATER
from toy_models import toy_dataset

import kraft
from kraft.analysis.unseen import unseen_frames
from kraft.core.errors import OptionError, SymmetryError
from kraft.descriptors import FEATURE_FUNCTIONS
from kraft.models.estimate import estimate_training
from kraft.symmetry.orbits import feature_orbits

GIVEN = {"kernel": "matern52", "length_scale": 3.0, "regularization": 1e-8}


def half(molecule):
    """Return whole orbits with about half of the features, the nearest atoms' ones."""
    orbits = feature_orbits(molecule.permutations)
    first, second = np.triu_indices(molecule.n_atoms, 1)
    distances = np.linalg.norm(molecule.positions[first] - molecule.positions[second], axis=1)
    orbits = sorted(orbits, key=lambda orbit: distances[orbit].mean())
    sizes = np.cumsum([len(orbit) for orbit in orbits])
    return np.sort(np.concatenate(orbits[: 1 + int(np.searchsorted(sizes, 0.5 * len(first)))]))


def difference(one, other, positions):
    """Return the largest difference of forces, relative to the largest force."""
    forces = [model.predict(positions).forces for model in (one, other)]
    return np.abs(forces[0] - forces[1]).max() / np.abs(forces[1]).max()


@pytest.mark.parametrize("solver", ["dense", "iterative"])
@pytest.mark.parametrize("energy_weight", [0.0, 0.5])
def test_all_features_given_change_no_bit(solver, energy_weight):
    training = toy_dataset(BENZENE, 6)
    options = {**GIVEN, "permutations": BENZENE.permutations, "energy_weight": energy_weight}
    options["solver_options"] = kraft.SolverOptions(solver=solver, rank=20)  # not by speed
    plain, _ = kraft.train(training, **options)
    given, _ = kraft.train(training, features=range(66), feature_function="inverse", **options)
    positions = BENZENE.frames(3, seed=2)
    assert given.parameters.features is None
    for ours, expected in zip(given.predict(positions), plain.predict(positions), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("molecule", [WATER, CHIRAL, BENZENE], ids=str)
@pytest.mark.parametrize("energy_weight", [0.0, 0.5])
def test_features_left_out_are_features_without_weight(molecule, energy_weight):
    """The former leave out motions that they do not see, the latter must not notice."""
    training, features = toy_dataset(molecule, 8), half(molecule)
    options = {**GIVEN, "permutations": molecule.permutations, "energy_weight": energy_weight}
    weights = np.zeros(molecule.n_atoms * (molecule.n_atoms - 1) // 2)
    weights[features] = 1.0
    reduced, _ = kraft.train(training, features=features, **options)
    masked, _ = kraft.train(training, feature_weights=weights, **options)
    positions = molecule.frames(4, seed=2)
    assert difference(reduced, masked, positions) < 1e-6
    assert reduced.parameters.training_descriptors.shape == (8, len(features))


@pytest.mark.parametrize("function", sorted(FEATURE_FUNCTIONS))
@pytest.mark.parametrize("molecule", [CHIRAL, BENZENE], ids=str)
def test_dense_equals_iterative(molecule, function):
    options = {
        **GIVEN,
        "length_scale": None,
        "permutations": molecule.permutations,
        "features": half(molecule),
        "feature_function": function,
    }
    training = toy_dataset(molecule, 12)
    dense, _ = kraft.train(training, solver="dense", **options)
    options["length_scale"] = dense.parameters.length_scale
    iterative, result = kraft.train(
        training,
        solver_options=kraft.SolverOptions(solver="iterative", tolerance=1e-10),
        **options,
    )
    assert result.outcome.converged
    assert difference(iterative, dense, molecule.frames(4, seed=2)) < 1e-5


@pytest.mark.parametrize("function", sorted(FEATURE_FUNCTIONS))
def test_every_function_learns_a_known_potential(function):
    training, test = toy_dataset(WATER, 40), toy_dataset(WATER, 20, seed=1)
    model, result = kraft.train(
        training, permutations=WATER.permutations, feature_function=function, kernel="matern72"
    )
    error = np.abs(model.predict(test.positions).forces - test.forces).mean()
    assert error < 0.02 * np.abs(test.forces).mean()
    assert "length scale" not in result.choice.at_edge
    assert result.energy_offset.slope == pytest.approx(1.0, abs=0.05)


def test_a_reduced_model_of_a_short_ranged_potential(ethanol):
    """Half the features, chosen by distance, and a choice of hyper-parameters for them."""
    parts = kraft.split(ethanol, n_train=40, n_test=100)
    plain, found = kraft.train(parts.train, kernel="matern52", feature_weights=None)
    orbits = feature_orbits(found.permutations)
    distances = plain.parameters.training_distances.mean(axis=0)
    orbits = sorted(orbits, key=lambda orbit: distances[orbit].mean())
    features = np.sort(np.concatenate(orbits[: int(0.75 * len(orbits))]))
    reduced, result = kraft.train(
        parts.train,
        kernel="matern52",
        feature_weights=None,
        permutations=found.permutations,
        features=features,
    )
    errors = [
        np.abs(model.predict(parts.test.positions).forces - parts.test.forces).mean()
        for model in (plain, reduced)
    ]
    assert reduced.parameters.n_features == len(features) < 36
    assert errors[1] < 2.0 * errors[0]
    assert not result.choice.at_edge
    rank = reduced.parameters.descriptor().jacobian_rank
    assert len(result.outcome.coefficients) == 40 * rank
    assert any("blind" in notice for notice in result.notices) == (rank < 21)


@pytest.mark.parametrize(
    "features, error, message",
    [
        ([0, 2], SymmetryError, r"closed.*lack 1 \(atoms 0 and 2\)"),
        ([3], OptionError, "from 0 to 2"),
        ([], OptionError, "at least one"),
    ],
)
def test_features_that_do_not_fit_are_explained(features, error, message):
    with pytest.raises(error, match=message):
        kraft.train(
            toy_dataset(WATER, 4), features=features, permutations=WATER.permutations, **GIVEN
        )


def test_weights_belong_to_the_features_kept():
    training, options = toy_dataset(WATER, 6), {**GIVEN, "permutations": WATER.permutations}
    kraft.train(training, features=[0, 1], feature_weights=[2.0, 2.0], **options)
    with pytest.raises(OptionError, match=r"2 non-negative.*kept"):
        kraft.train(training, features=[0, 1], feature_weights=np.ones(3), **options)
    with pytest.raises(OptionError, match="equivalent pairs"):
        kraft.train(training, features=[0, 1], feature_weights=[1.0, 2.0], **options)
    with pytest.raises(OptionError, match="inverse-sqrt"):
        kraft.train(training, feature_function="sine", **options)


def test_what_they_are_blind_to_is_told():
    training = toy_dataset(CHIRAL, 6)
    options = {**GIVEN, "permutations": None}
    _, lonely = kraft.train(training, features=[0, 1, 4], **options)
    assert any("atoms 3, 4" in notice for notice in lonely.notices)
    star, loose = kraft.train(training, features=[0, 1, 2, 3], **options)
    assert any("blind to 5 of the 9 internal motions" in notice for notice in loose.notices)
    assert loose.outcome.coefficients.shape == (6 * 4,)
    turned = CHIRAL.positions.copy()
    turned[1] = [0.63, -0.63, 0.63]  # the bonds are as long as before
    forces = star.predict(np.stack([CHIRAL.positions, turned])).forces
    lengths = np.linalg.norm(forces, axis=2)
    np.testing.assert_allclose(lengths[0, 1:], lengths[1, 1:], atol=1e-8)
    _, rigid = kraft.train(training, features=range(1, 10), **options)
    assert not any("blind" in notice for notice in rigid.notices)


def test_a_reduced_model_is_resumed_with_the_same_features(tmp_path):
    training, path = toy_dataset(BENZENE, 8), tmp_path / "state.safetensors"
    options = {**GIVEN, "permutations": BENZENE.permutations, "solver": "iterative"}
    features = half(BENZENE)
    kraft.train(training, features=features, checkpoint=path, **options)
    again, _ = kraft.train(training, features=features, checkpoint=path, resume=True, **options)
    assert again.parameters.n_features == len(features)
    with pytest.raises(OptionError, match="choice of features differs"):
        kraft.train(training, checkpoint=path, resume=True, **options)
    with pytest.raises(OptionError, match="feature function differs"):
        kraft.train(
            training,
            features=features,
            feature_function="log",
            checkpoint=path,
            resume=True,
            **options,
        )


def test_what_is_built_on_a_model_works(ethanol):
    """Uncertainty, novelty, selection and unseen frames of a reduced model."""
    parts = kraft.split(ethanol, n_train=30, n_valid=25, n_test=30)
    _, found = kraft.train(parts.train, **{**GIVEN, "length_scale": 10.0})
    features = np.sort(np.concatenate(feature_orbits(found.permutations)[:-4]))
    model, _ = kraft.train(
        parts.train,
        permutations=found.permutations,
        features=features,
        feature_function="inverse-sqrt",
        **{**GIVEN, "length_scale": 10.0},
    )
    calibrated = model.calibrated(parts.valid)
    uncertain = calibrated.predict(parts.test.positions, uncertainty=True)
    assert (uncertain.forces_std > 0.0).all() and (uncertain.energies_std > 0.0).all()
    committee = model.with_uncertainty("committee").predict(
        parts.test.positions[:2], uncertainty=True
    )
    assert (committee.forces_std > 0.0).all()
    near, far = model.novelty(parts.train.positions), model.novelty(parts.test.positions)
    assert near.max() < 1e-4 < far.min()
    selected = kraft.select_frames(model, parts.test.positions, 5)
    assert len(set(selected.indices.tolist())) == 5
    assert unseen_frames(model, ethanol.subset(range(100))).n_trained > 0


def test_an_estimate_knows_of_them(ethanol):
    some = ethanol.subset(range(60))
    full = estimate_training(some, 60, permutations=None)
    reduced = estimate_training(
        some, 60, permutations=None, features=[0, 1, 2], feature_function="log"
    )
    assert reduced.n_labels == 3 * 60 < full.n_labels
