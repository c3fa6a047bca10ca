"""Linear algebra that knows nothing of atoms."""

from kraft.linalg.dense_operator import DenseOperator
from kraft.linalg.operators import Product, SymmetricOperator
from kraft.linalg.panels import LowerPanels, NotPositiveDefiniteError, PanelCholesky

__all__ = [
    "DenseOperator",
    "LowerPanels",
    "NotPositiveDefiniteError",
    "PanelCholesky",
    "Product",
    "SymmetricOperator",
]
