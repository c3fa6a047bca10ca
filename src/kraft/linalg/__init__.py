"""Linear algebra that knows nothing of atoms."""

from kraft.linalg.operators import SymmetricOperator
from kraft.linalg.panels import LowerPanels, NotPositiveDefiniteError, PanelCholesky

__all__ = ["LowerPanels", "NotPositiveDefiniteError", "PanelCholesky", "SymmetricOperator"]
