"""Reading of films by people: what to read next, the agreement of readers, and their marks as label tables."""

from cxrscore.reading.agreement import ReaderAgreement, reader_agreements
from cxrscore.reading.features import FilmFeatures
from cxrscore.reading.label_table import (
    MarksOptions,
    MarksResult,
    MarksTables,
    describe_agreement,
    export_marks,
    make_tables,
)
from cxrscore.reading.prevalence import describe_prevalence
from cxrscore.reading.queue_command import QueueOptions, describe_queue, make_queue, queue_record
from cxrscore.reading.queue_csv import queue_csv, read_queue
from cxrscore.reading.queues import RULES, Queue, QueuedFilm, Rule, badge, draw_queue

__all__ = [
    "RULES",
    "FilmFeatures",
    "MarksOptions",
    "MarksResult",
    "MarksTables",
    "Queue",
    "QueueOptions",
    "QueuedFilm",
    "ReaderAgreement",
    "Rule",
    "badge",
    "describe_agreement",
    "describe_prevalence",
    "describe_queue",
    "draw_queue",
    "export_marks",
    "make_queue",
    "make_tables",
    "queue_csv",
    "queue_record",
    "read_queue",
    "reader_agreements",
]
