"""Score films as they come: ``cxrscore watch``."""

from cxrscore.watching.config import ExportTarget, WatchConfig, read_config, with_dates
from cxrscore.watching.events import Event
from cxrscore.watching.watcher import WatchResult, watch

__all__ = ["Event", "ExportTarget", "WatchConfig", "WatchResult", "read_config", "watch", "with_dates"]
