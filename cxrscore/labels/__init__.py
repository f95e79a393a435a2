"""Label tables, canonical findings, and splits by patient."""

from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.join import JoinedLabels, join_labels
from cxrscore.labels.nih import nih
from cxrscore.labels.plain import plain
from cxrscore.labels.splits import Split, check_leaks, read_split, split_by_patient, split_csv
from cxrscore.labels.table import find_labels, read_labels

datasets = (nih, plain)

__all__ = [
    "FINDINGS",
    "JoinedLabels",
    "Split",
    "canonical",
    "check_leaks",
    "datasets",
    "find_labels",
    "join_labels",
    "read_labels",
    "read_split",
    "split_by_patient",
    "split_csv",
]
