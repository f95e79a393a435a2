"""What readers say of films: the file of marks, and the consensus of its readers as a table of labels."""

from cxrscore.marks.consensus import LABELS, MAJORITY, RULES, Consensus, marks_table
from cxrscore.marks.file import MarksFile, is_marks_file, marks_path
from cxrscore.marks.log import (
    MAX_BOXES,
    MAX_COMMENT,
    MAX_NAME,
    Answer,
    Box,
    Event,
    FilmMarks,
    Kind,
    Mark,
    MarkedFilm,
    ReadingSession,
    current_marks,
)

__all__ = [
    "LABELS",
    "MAJORITY",
    "MAX_BOXES",
    "MAX_COMMENT",
    "MAX_NAME",
    "Answer",
    "Box",
    "Consensus",
    "Event",
    "FilmMarks",
    "Kind",
    "Mark",
    "MarkedFilm",
    "MarksFile",
    "RULES",
    "ReadingSession",
    "current_marks",
    "is_marks_file",
    "marks_path",
    "marks_table",
]
