"""Features of films: what the frozen layers of a model compute, once for each film and augmentation.

FeatureSource is the entry point of training. It reads features from the cache on disk (``cache``), computes those that
are missing in this process (``backbone`` where another backend runs the frozen layers) or in worker processes
(``distributed``, ``worker``), and gives the films themselves where no layer is frozen.
"""

from cxrscore.training.features.cache import cached_features, feature_cache_folder
from cxrscore.training.features.source import (
    FORWARD,
    FeatureSource,
    Rows,
    augmentation_from_options,
    augmented_film,
    batches_of,
    feature_key,
    forward,
    frozen_digest,
    split_trainable,
)

__all__ = [
    "FORWARD",
    "FeatureSource",
    "Rows",
    "augmentation_from_options",
    "augmented_film",
    "batches_of",
    "cached_features",
    "feature_cache_folder",
    "feature_key",
    "forward",
    "frozen_digest",
    "split_trainable",
]
