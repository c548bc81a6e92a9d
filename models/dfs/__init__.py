"""Deep Feature Synthesis: features of past rows along schema paths."""

from models.aggregation.engine import Explanation, compute_features, explain
from models.aggregation.features import Feature, feature_from_plain
from models.dfs.enumeration import FeatureConfig, enumerate_features

__all__ = [
    "Explanation",
    "Feature",
    "FeatureConfig",
    "compute_features",
    "enumerate_features",
    "explain",
    "feature_from_plain",
]
