"""Label tables: layouts, one spelling of findings, the join to films, and splits that keep patients together."""

from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.join import JoinedLabels, join_labels
from cxrscore.labels.read import datasets, find_labels, joined_labels, read_labels
from cxrscore.labels.splits import Split, check_leaks, read_split, split_by_patient, split_csv

__all__ = [
    "FINDINGS",
    "JoinedLabels",
    "Split",
    "canonical",
    "check_leaks",
    "datasets",
    "find_labels",
    "join_labels",
    "joined_labels",
    "read_labels",
    "read_split",
    "split_by_patient",
    "split_csv",
]
