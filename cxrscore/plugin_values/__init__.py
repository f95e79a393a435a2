"""What plugins return, checked once, where it comes back. cxrscore.plugins hands out nothing but what is checked here.

A value that the contract does not allow, or an error that a plugin's function raises, becomes a PluginError: one line
with the object and its distribution, the call, what was wanted and what came.
"""

from cxrscore.plugin_values.origin import Origin
from cxrscore.plugin_values.tables import checked_dataset

__all__ = ["Origin", "checked_dataset"]
