"""Force fields: training, choice of hyper-parameters, prediction, the model file."""

from kraft.models.force_field import ForceField, Prediction
from kraft.models.solver_options import SolverOptions
from kraft.models.training import train
from kraft.models.training_result import TrainingResult

__all__ = ["ForceField", "Prediction", "SolverOptions", "TrainingResult", "train"]
