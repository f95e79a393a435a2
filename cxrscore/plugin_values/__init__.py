"""What plugins return, checked once, where it comes back. cxrscore.plugins hands out nothing but what is checked here.

A value that the contract does not allow, or an error that a plugin's function raises, becomes a PluginError: one line
with the object and its distribution, the call, what was wanted and what came.
"""

from cxrscore.plugin_values.backends import checked_backend
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
]
