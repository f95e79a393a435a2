"""The scores file (out.h5): written in shards that survive a crash, merged at the end, validated when read."""

from cxrscore.scorefile.data import SEEN, SPLITS, FilmRows, HeatMaps, Scores, Thumbnails
from cxrscore.scorefile.manifest import Manifest, shard_size
from cxrscore.scorefile.partition import Partition, describe_partition, partition_inputs
from cxrscore.scorefile.reading import (
    FileProvenance,
    check_content,
    open_scores,
    read_digests,
    read_file_provenance,
    read_films,
    read_findings,
    read_label_columns,
    read_notes,
    read_provenance,
    read_without_images,
)
from cxrscore.scorefile.run import (
    Run,
    discard_run,
    finished_provenance,
    manifest_films,
    manifest_partition,
    may_replace,
    open_run,
    unfinished_outputs,
)
from cxrscore.scorefile.shards import Shard, shard_of
from cxrscore.scorefile.thumbnail_selection import (
    ScoredFilms,
    concatenate,
    scored_films,
    select_thumbnails,
    thumbnail_candidates,
)

__all__ = [
    "SEEN",
    "SPLITS",
    "FileProvenance",
    "FilmRows",
    "HeatMaps",
    "Manifest",
    "Partition",
    "Run",
    "ScoredFilms",
    "Scores",
    "Shard",
    "Thumbnails",
    "check_content",
    "concatenate",
    "describe_partition",
    "discard_run",
    "finished_provenance",
    "manifest_films",
    "manifest_partition",
    "may_replace",
    "open_run",
    "open_scores",
    "partition_inputs",
    "read_digests",
    "read_file_provenance",
    "read_films",
    "read_findings",
    "read_label_columns",
    "read_notes",
    "read_provenance",
    "read_without_images",
    "scored_films",
    "select_thumbnails",
    "shard_of",
    "shard_size",
    "thumbnail_candidates",
    "unfinished_outputs",
]
