"""What readers say of films: the file of marks, and the consensus of its readers as a table of labels."""

from cxrscore.marks.consensus import (
    LABELS,
    MAJORITY,
    RULES,
    Consensus,
    answers_of,
    consensus_rows,
    marks_table,
    no_such_reader,
)
from cxrscore.marks.file import MarksFile, is_marks_file, marks_path, scores_path
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
    "RULES",
    "Answer",
    "Box",
    "Consensus",
    "Event",
    "FilmMarks",
    "Kind",
    "Mark",
    "MarkedFilm",
    "MarksFile",
    "ReadingSession",
    "answers_of",
    "consensus_rows",
    "current_marks",
    "is_marks_file",
    "marks_path",
    "marks_table",
    "no_such_reader",
    "scores_path",
]
