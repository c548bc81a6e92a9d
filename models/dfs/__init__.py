"""Deep Feature Synthesis: features of past rows along schema paths."""

from models.aggregation.engine import Explanation, compute_features, explain
from models.aggregation.features import Feature, feature_from_plain
from models.dfs.conditions import frequent_values
from models.dfs.config import FeatureConfig
from models.dfs.definition import define, walk
from models.dfs.enumeration import Enumeration, enumerate_features, offer_features
from models.dfs.featuretools_entity_set import entity_set
from models.dfs.featuretools_exchange import from_featuretools, to_featuretools

__all__ = [
    "Enumeration",
    "Explanation",
    "Feature",
    "FeatureConfig",
    "compute_features",
    "define",
    "entity_set",
    "enumerate_features",
    "explain",
    "feature_from_plain",
    "frequent_values",
    "from_featuretools",
    "offer_features",
    "to_featuretools",
    "walk",
]
