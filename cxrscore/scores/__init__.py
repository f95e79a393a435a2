"""out.h5: written in shards that survive a crash, merged at the end, and read with distrust."""

from cxrscore.scores.data import SPLITS, FilmRows, HeatMaps, Scores, Thumbnails
from cxrscore.scores.manifest import Manifest, shard_size
from cxrscore.scores.reading import Claim, check_content, open_scores, read_claim, read_films, read_label_columns
from cxrscore.scores.run import Run, finished_claim, frozen_films, frozen_share, may_replace, open_run
from cxrscore.scores.shards import Shard, shard_of
from cxrscore.scores.share import Share, share_inputs, share_words
from cxrscore.scores.shown import ScoredFilms, candidates, scored_films, shown_films, together

__all__ = [
    "SPLITS",
    "Claim",
    "FilmRows",
    "HeatMaps",
    "Manifest",
    "Run",
    "ScoredFilms",
    "Scores",
    "Shard",
    "Share",
    "Thumbnails",
    "candidates",
    "check_content",
    "finished_claim",
    "frozen_films",
    "frozen_share",
    "may_replace",
    "open_run",
    "open_scores",
    "read_claim",
    "read_films",
    "read_label_columns",
    "scored_films",
    "shard_of",
    "shard_size",
    "share_inputs",
    "share_words",
    "shown_films",
    "together",
]
