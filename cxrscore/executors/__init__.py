"""Who computes which items: worker processes on this machine, and what executors share."""

from cxrscore.executors.ledger import TRIES, Ledger
from cxrscore.executors.local import THREADS, LocalExecutor
from cxrscore.executors.opened import Opened

__all__ = ["THREADS", "TRIES", "Ledger", "LocalExecutor", "Opened", "executors"]

executors = (LocalExecutor(),)
"""As cxrscore_executors returns them."""
