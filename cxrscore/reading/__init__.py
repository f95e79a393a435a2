"""Reading of films by people: what to read next, the agreement of readers, and their marks as label tables."""

from cxrscore.reading.queues import Queue, QueuedFilm, Rule, badge, draw_queue

__all__ = ["Queue", "QueuedFilm", "Rule", "badge", "draw_queue"]
