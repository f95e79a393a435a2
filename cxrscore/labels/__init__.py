"""Label tables: layouts, standard names of findings, joining labels to films, and splits by patient."""

from cxrscore.labels.boxes import Box, read_boxes
from cxrscore.labels.columns import DEMOGRAPHICS, years
from cxrscore.labels.duplicates import near_duplicates
from cxrscore.labels.findings import FINDINGS, MAX_FINDINGS, canonical
from cxrscore.labels.image_similarity import SIDE as THUMBNAIL
from cxrscore.labels.join import JoinedLabels, join_labels
from cxrscore.labels.leakage import Leak, check_leakage
from cxrscore.labels.patients import grouping
from cxrscore.labels.read import (
    ALL,
    ALL_LABELS,
    LabelRules,
    datasets,
    describe_columns,
    describe_rules,
    describe_table,
    find_labels,
    is_other_findings,
    other_findings,
    read_joined_labels,
    read_labels,
    some_names,
    unusual_findings,
)
from cxrscore.labels.split_files import film_cell, read_split, split_csv
from cxrscore.labels.splits import Split, draw_valid, folds_by_patient, split_by_patient
from cxrscore.labels.text_files import MAX_BYTES as LARGEST_TABLE
from cxrscore.labels.uncertain_labels import UNCERTAIN
from cxrscore.labels.unmatched import MatchSummary, match_counts, match_warnings

__all__ = [
    "ALL",
    "ALL_LABELS",
    "DEMOGRAPHICS",
    "FINDINGS",
    "LARGEST_TABLE",
    "MAX_FINDINGS",
    "THUMBNAIL",
    "UNCERTAIN",
    "Box",
    "JoinedLabels",
    "LabelRules",
    "Leak",
    "MatchSummary",
    "Split",
    "canonical",
    "check_leakage",
    "datasets",
    "describe_columns",
    "describe_rules",
    "describe_table",
    "draw_valid",
    "film_cell",
    "find_labels",
    "folds_by_patient",
    "grouping",
    "is_other_findings",
    "join_labels",
    "match_counts",
    "match_warnings",
    "near_duplicates",
    "other_findings",
    "read_boxes",
    "read_joined_labels",
    "read_labels",
    "read_split",
    "some_names",
    "split_by_patient",
    "split_csv",
    "unusual_findings",
    "years",
]
