"""Models of sgdml: read from and written to its ``.npz`` files, without unpickling anything.

With sgdml's sign of the coefficients turned round and its label scale multiplied in, its prediction
is the same expansion as ours (`docs/theory.md`, eq. 9):

    v_j = -std · R_d_desc_alpha_j,   ε_j = std · alphas_E_j,   E = c + Σ first δᵀv_j + Σ k ε_j.

sgdml orders the pairs of atoms by ``numpy.tril_indices(N, -1)``, kraft by
``numpy.triu_indices(N, 1)``; its lattice vectors are columns, ours rows. A model predicts in the
units of its training data, here converted with ``e`` (one energy unit in eV) and ``l`` (one length
unit in Å): descriptors and length scale by ``1/l``, ``v`` by ``e/l``, ``ε`` and ``c`` by ``e``, the
regularization by ``1/l²``.
"""

from kraft.interfaces.sgdml.reading import ImportedModel, import_sgdml_model, read_sgdml_model
from kraft.interfaces.sgdml.writing import write_sgdml_model

__all__ = ["ImportedModel", "import_sgdml_model", "read_sgdml_model", "write_sgdml_model"]
