"""Features of films: what the frozen layers of a model compute, once for each film and augmentation.

FeatureSource is the only entry point. It reads features from the cache on disk (``cache``), computes those that are
missing in this process (``backbone`` where another backend runs the frozen layers) or in worker processes
(``distributed``, ``worker``), and gives the films themselves where no layer is frozen.
"""

from cxrscore.training.features.cache import feature_cache_folder
from cxrscore.training.features.source import (
    FeatureSource,
    Rows,
    augmentation_from_options,
    augmented_film,
    batches_of,
    split_trainable,
)

__all__ = [
    "FeatureSource",
    "Rows",
    "augmentation_from_options",
    "augmented_film",
    "batches_of",
    "feature_cache_folder",
    "split_trainable",
]
