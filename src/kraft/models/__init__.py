"""Force fields: training, choice of hyper-parameters, prediction, the model file."""

from kraft.models.acquisition import SelectedFrames, select_frames
from kraft.models.aff.result import AtomizedResult
from kraft.models.atomized_training import train_aff
from kraft.models.force_field import ForceField
from kraft.models.metric import MetricOptions
from kraft.models.prediction import Prediction, UncertainPrediction
from kraft.models.solver_options import SolverOptions
from kraft.models.training import train
from kraft.models.training_result import TrainingResult
from kraft.models.uncertainty.calibration import Calibration

__all__ = [
    "AtomizedResult",
    "Calibration",
    "ForceField",
    "MetricOptions",
    "Prediction",
    "SelectedFrames",
    "SolverOptions",
    "TrainingResult",
    "UncertainPrediction",
    "select_frames",
    "train",
    "train_aff",
]
