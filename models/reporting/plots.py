"""All plots of the library, each a function from arrays or frames to PNG bytes under 60 kB.

A plot never fails on its data: what cannot be drawn becomes a placeholder with the reason.
"""

from models.reporting.label_plots import class_balance_over_time, label_distribution
from models.reporting.model_plots import (
    SeedCurve,
    feature_importance,
    learning_curve,
    prediction_distribution,
    score_by_cutoff,
)
from models.reporting.score_plots import (
    calibration,
    confusion_matrix,
    precision_recall_curve,
    predicted_against_actual,
    roc_curve,
)

__all__ = [
    "SeedCurve",
    "calibration",
    "class_balance_over_time",
    "confusion_matrix",
    "feature_importance",
    "label_distribution",
    "learning_curve",
    "precision_recall_curve",
    "predicted_against_actual",
    "prediction_distribution",
    "roc_curve",
    "score_by_cutoff",
]
