"""A watch whose scores are made up from the bytes of the films, for tests of everything but the scoring."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_run
import numpy as np
import pytest

from cxrscore.images import FoundFilms, Status, film_digest
from cxrscore.scorefile import HeatMaps, Shard, Thumbnails, open_run, open_scores, read_films
from cxrscore.scoring import ScoreOptions, ScoreResult
from cxrscore.watching import WatchConfig, WatchResult, read_config, watch, watcher

FINDINGS = ("Mass", "Edema")
FUTURE = "2091-02-03T04:05:06+00:00"


def made_config(folder: Path, text: str = "", **changed: Any) -> WatchConfig:
    """A configuration for films/ and out/ in a folder; ``text``: tables behind the keys, ``changed``: the keys."""
    (folder / "films").mkdir(exist_ok=True)
    keys = {"films": "films", "model": "m.safetensors", "output": "out", "min_age": 0, **changed}
    (folder / "watch.toml").write_text("".join(f"{key} = {json.dumps(one)}\n" for key, one in keys.items()) + text)
    return read_config(folder / "watch.toml")


def made_films(folder: Path, *names: str, content: str = "") -> None:
    """Files whose bytes are their names, or the content that is given; bytes that begin with ! cannot be decoded, and
    ? cannot be read."""
    for name in names:
        place = folder / "films" / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content or name)


def made_up(monkeypatch: pytest.MonkeyPatch, created: str = "") -> None:
    """Makes the scores of every watch of this test up.

    created  the time that the scores files tell, and before which a film counts as unchanged; "": now
    """
    loaded = SimpleNamespace(files=(), backend="made up", precision="fp32", precision_note="")
    monkeypatch.setattr(watcher, "build_models", lambda options: loaded)
    monkeypatch.setattr(watcher, "known_inputs", lambda options, files: {"heatmaps": options.heatmaps})
    monkeypatch.setattr(watcher, "score_listed", partial(_score, created))


def rounds(config: WatchConfig, number: int = 1, **hooks: Any) -> tuple[WatchResult, list[dict[str, Any]]]:
    """The result and the events of some rounds of one watch; hooks: after_1=callable and so on."""
    told: list[dict[str, Any]] = []
    if number == 1:
        result = watch(
            config, lambda event: told.append({"kind": event.kind, "text": event.text, **event.values}), once=True
        )
        return result, told
    done = 0

    def wait(seconds: float) -> None:
        nonlocal done
        done += 1
        hooks.get(f"after_{done}", lambda: None)()
        if done == number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(config, lambda event: told.append({"kind": event.kind, "text": event.text, **event.values}), wait=wait)
    return WatchResult(), told


def scored(config: WatchConfig) -> Counter[str]:
    """How many rows each path has in the finished scores files."""
    return Counter(path for file in sorted(config.output.glob("*.h5")) for path in read_films(file).path)


def killed_at(config: WatchConfig, operation: int) -> bool:
    """Runs one round in a process that dies in this operation on files; whether it did."""
    child = os.fork()
    if child == 0:
        try:
            made_run._doom(operation)
            watch(config, lambda event: None, once=True)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def _score(created: str, options: ScoreOptions, found: FoundFilms, loaded: Any) -> ScoreResult:
    given = {"heatmaps": options.heatmaps, "anonymize_paths": options.anonymize_paths}
    run = open_run(options.file, found.paths, FINDINGS, given)
    if not run.complete:
        for number, rows in enumerate(run.shards):
            if not run.done(number):
                run.write(number, _shard(options, found.paths, rows))
        shards = [run.read(number) for number in range(len(run.shards))]
        hashes = [sha for shard in shards for sha in shard.sha256]
        n = len(found.paths)
        run.merge(
            split=np.zeros(n, np.uint8),
            patient=np.full(n, -1, np.int32),
            truth=np.full((n, len(FINDINGS)), np.nan, np.float32),
            thresholds=np.full(len(FINDINGS), np.nan, np.float32),
            thumbnails=Thumbnails(film=np.zeros(0, np.int32), pixels=np.zeros((0, 8, 8), np.uint8)),
            provenance={"created": created or f"{datetime.now(UTC)}", "seconds": 0.0, "warnings": []},
            names=[sha or f"row {row}" for row, sha in enumerate(hashes)] if options.anonymize_paths else None,
        )
    films = open_scores(options.file).films
    bad = np.flatnonzero(films.status != Status.OK)
    return ScoreResult(
        output=options.output,
        n_films=len(films.path),
        scored=len(films.path) - len(bad),
        failed=tuple((films.path[row], films.message[row]) for row in bad),
        failed_statuses=tuple(Status(films.status[row]).name for row in bad),
        computed=len(films.path),
        seconds=0.0,
        backend="made up",
        models=(),
        tta=1,
        unreadable_paths=(),
    )


def read_text(place: Any) -> str:
    """The bytes of a film, which are a text."""
    return str(place.read_text())


def _shard(options: ScoreOptions, paths: tuple[str, ...], rows: range) -> Shard:
    texts = [read_text(options.films / paths[row]) for row in rows]
    hashes = [
        "" if text.startswith("?") else film_digest(options.films / paths[row])
        for text, row in zip(texts, rows, strict=True)
    ]
    status = np.array(
        [{"?": Status.UNREADABLE, "!": Status.DAMAGED}.get(text[:1], Status.OK) for text in texts], np.uint8
    )
    prob = np.array([[int(sha[:4] or "0", 16) / 65536, 0.5] for sha in hashes], np.float32)
    prob[status != Status.OK] = np.nan
    n = len(rows)
    maps = HeatMaps(map=np.zeros((0, 1, 1), np.float16), film=np.zeros(0, np.int32), finding=np.zeros(0, np.int16))
    return Shard(
        logit=prob,
        prob=prob,
        prob_uncalibrated=prob,
        status=status,
        message=["" if code == Status.OK else "made up" for code in status],
        kind=["png"] * n,
        modality=[""] * n,
        view=[""] * n,
        sha256=hashes,
        width=np.full(n, 64, np.uint32),
        height=np.full(n, 64, np.uint32),
        heat_maps=maps,
    )
