"""out.h5: written in shards that survive a crash, merged at the end, and read with distrust."""

from cxrscore.scores.data import SPLITS, FilmRows, HeatMaps, Scores, Thumbnails
from cxrscore.scores.manifest import Manifest, shard_size
from cxrscore.scores.marks import leaked
from cxrscore.scores.reading import open_scores, read_claim
from cxrscore.scores.run import Run, open_run
from cxrscore.scores.shards import Shard
from cxrscore.scores.shown import shown_films

__all__ = [
    "SPLITS",
    "FilmRows",
    "HeatMaps",
    "Manifest",
    "Run",
    "Scores",
    "Shard",
    "Thumbnails",
    "leaked",
    "open_run",
    "open_scores",
    "read_claim",
    "shard_size",
    "shown_films",
]
