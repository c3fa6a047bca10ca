"""Force fields: training, choice of hyper-parameters, prediction, the model file."""

from kraft.models.force_field import ForceField, Prediction
from kraft.models.training import TrainingResult, train

__all__ = ["ForceField", "Prediction", "TrainingResult", "train"]
