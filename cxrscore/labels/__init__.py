"""Label tables: layouts, one spelling of findings, the join to films, and splits that keep patients together."""

from cxrscore.labels.boxes import Box, read_boxes
from cxrscore.labels.findings import FINDINGS, MAX_FINDINGS, canonical
from cxrscore.labels.join import JoinedLabels, join_labels
from cxrscore.labels.leaks import Leak, check_leaks
from cxrscore.labels.likeness import SIDE as THUMBNAIL
from cxrscore.labels.near import near_duplicates
from cxrscore.labels.read import datasets, find_labels, joined_labels, other_findings, read_labels
from cxrscore.labels.split_files import read_split, split_csv
from cxrscore.labels.splits import Split, draw_valid, split_by_patient
from cxrscore.labels.stated import UNCERTAIN
from cxrscore.labels.table import MAX_BYTES as LARGEST_TABLE

__all__ = [
    "FINDINGS",
    "LARGEST_TABLE",
    "MAX_FINDINGS",
    "THUMBNAIL",
    "UNCERTAIN",
    "Box",
    "JoinedLabels",
    "Leak",
    "Split",
    "canonical",
    "check_leaks",
    "datasets",
    "draw_valid",
    "find_labels",
    "join_labels",
    "joined_labels",
    "near_duplicates",
    "other_findings",
    "read_boxes",
    "read_labels",
    "read_split",
    "split_by_patient",
    "split_csv",
]
