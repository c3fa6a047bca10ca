"""Forces of a model with features left out, for all features in one pass (paper 003, eq. 4).

Masking a set ``O`` of features sets them to zero in the query and in all training geometries while
every coefficient stays. In the kernel expansion (`docs/theory.md`, eq. 9) only scalars change then,

    u² → u² - t,   δᵀv_j → δᵀv_j - w,   t = Σ_O δ_d²,   w = Σ_O δ_d v_jd,

and the rows ``O`` of the Jacobian are gone. So nothing is computed anew in the space of features:
``JᵀP_q v_j`` and ``JᵀP_q δ``, of ``3N`` components each, are made once for a query, and a mask
costs two products of that width for every pair ``(j, q)`` in place of the four of width ``D`` of a
prediction.

``O`` is an orbit of the permutation group, so the masked model has the symmetries of the model.
Permutations act on a class of features (:mod:`kraft.kernels.feature_classes`) in few ways, so
``t``, ``w`` and the products exist once for each of these. As functions of ``q``, the products have
few independent components; the weights of all permutations are projected on those first. Where
many permutations act on a class alike, the sum over them is a smooth function of ``t`` alone, which
is interpolated (:mod:`kraft.analysis.masking.interpolation`).
"""

from kraft.analysis.masking.forces import MaskedForces

__all__ = ["MaskedForces"]
