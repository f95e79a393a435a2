"""Checks of the values that plugins return. cxrscore.plugins returns only checked objects.

A value that violates the contract, or an error that a plugin's function raises, becomes a PluginError: one line with
the object and its distribution, the call, the expected value and the returned value.
"""

from cxrscore.plugin_values.backends import checked_backend, why_not
from cxrscore.plugin_values.executors import checked_executor
from cxrscore.plugin_values.functions import checked_explainer, checked_loss
from cxrscore.plugin_values.models import lenient
from cxrscore.plugin_values.origin import Origin
from cxrscore.plugin_values.tables import checked_dataset

__all__ = [
    "Origin",
    "checked_backend",
    "checked_dataset",
    "checked_executor",
    "checked_explainer",
    "checked_loss",
    "lenient",
    "why_not",
]
