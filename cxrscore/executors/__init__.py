"""Executors: worker processes on this machine, and what all executors share."""

from cxrscore.executors.local import THREAD_VARIABLES, LocalExecutor
from cxrscore.executors.work_queue import MAX_TRIES, TaskRunner, WorkQueue

__all__ = ["MAX_TRIES", "THREAD_VARIABLES", "LocalExecutor", "TaskRunner", "WorkQueue", "executors"]

executors = (LocalExecutor(),)
"""The executors that ``cxrscore_executors`` returns."""
