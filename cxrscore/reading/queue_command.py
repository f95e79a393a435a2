"""`cxrscore queue`: the films to read next, as a table."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.io import atomic_write_bytes
from cxrscore.io.outputs import OutputKind, check_output
from cxrscore.marks import MarksFile
from cxrscore.progress import Progress, no_progress
from cxrscore.reading.features import FilmFeatures
from cxrscore.reading.queue_csv import is_queue, queue_csv
from cxrscore.reading.queues import Queue, Rows, Rule, draw_queue
from cxrscore.scorefile import Scores, read_without_images

_KIND = OutputKind(name="a queue of cxrscore", recognises=is_queue)


@dataclass(frozen=True, kw_only=True)
class QueueOptions:
    """Options of ``cxrscore queue``, under the same names.

    Attributes
    ----------
    scores : path
        The scores file.
    count : int
        Number of films.
    rule : str
        How they are chosen: see Rule.
    output : path, optional
        The table to write; None: nothing is written.
    seed : int
        Of the draws.
    marks : path, optional
        A marks file: films with an answer in it are left out.
    reader : str, optional
        Only those with an answer of this reader are left out, so that a second reader gets the films of the first.
    unlabelled : bool
        Leave out films that have labels in the scores file.
    other : path, optional
        For the rule disagreement: the other scores file.
    films, model, backend, device, workers
        For the rule useful: the folder of the films, the model file whose backbone makes the features, and how.
    overwrite : bool
        Replace another file.
    """

    scores: Path
    count: int
    rule: str
    output: Path | None = None
    seed: int = 0
    marks: Path | None = None
    reader: str | None = None
    unlabelled: bool = False
    other: Path | None = None
    films: Path | None = None
    model: Path | None = None
    backend: str | None = None
    device: str = "auto"
    workers: int = 1
    overwrite: bool = False


def make_queue(options: QueueOptions, progress: Progress = no_progress) -> Queue:
    """Choose the films to read next, and write them as a table. Errors as draw_queue, and those of the files."""
    rule = Rule.parse(options.rule)
    _check(options, rule)
    if options.output is not None:
        inputs = (options.scores, options.marks, options.other, options.model)
        check_output(options.output, _KIND, inputs=inputs, overwrite=options.overwrite)
    scores, marked = read_without_images(options.scores), _marked(options)
    queue = draw_queue(
        scores,
        rule,
        options.count,
        seed=options.seed,
        marked=marked,
        unlabelled=options.unlabelled,
        other=None if options.other is None else read_without_images(options.other),
        features=lambda rows: _features(options, scores, rows, progress),
    )
    queue = replace(queue, elsewhere=len(marked - set(scores.films.sha256)))
    if options.output is not None:
        atomic_write_bytes(options.output, queue_csv(queue))
    return queue


def _check(options: QueueOptions, rule: Rule) -> None:
    """InputError for options that the rule lacks, or that have no use with it."""
    useful = rule.name == "useful"
    if useful and (options.films is None or options.model is None):
        raise InputError("the rule useful needs the folder of the films (--films) and the model file (--model)")
    if (options.other is not None) != (rule.name == "disagreement"):
        raise InputError("the rule disagreement needs the other scores file (--other), and no other rule does")
    if options.reader is not None and options.marks is None:
        raise InputError("--reader needs the marks file (--marks)")


def _marked(options: QueueOptions) -> Set[str]:
    if options.marks is None:
        return set()
    with MarksFile(options.marks) as file:
        marks = file.marks()
    return {one.sha256 for one in marks if one.marks and options.reader in (None, one.reader)}


def _features(options: QueueOptions, scores: Scores, rows: Rows, progress: Progress) -> Floats:
    assert options.films is not None
    assert options.model is not None
    features = FilmFeatures(
        films=options.films,
        model=options.model,
        backend=options.backend,
        device=options.device,
        workers=options.workers,
        progress=progress,
    )
    paths, digests = scores.films.path, scores.films.sha256
    return features([paths[row] for row in rows], [digests[row] for row in rows])


def queue_record(queue: Queue, output: Path | None) -> dict[str, Any]:
    """The queue, ready for JSON."""
    return {
        "output": output,
        "rule": str(queue.rule),
        "drawn": queue.rule.drawn,
        "seed": queue.seed,
        "candidates": queue.candidates,
        "left_out": queue.left_out,
        "marked_elsewhere": queue.elsewhere,
        "films": [
            {
                "film": one.path,
                "sha256": one.sha256,
                "figure": one.figure,
                "reason": one.reason,
                "stratum": one.stratum or None,
                "weight": one.weight,
            }
            for one in queue.films
        ],
    }


def describe_queue(queue: Queue) -> str:
    """How the films were chosen, in one line."""
    left = f"; {queue.left_out:,} left out, marked or labelled already" if queue.left_out else ""
    if queue.elsewhere:
        left += f"; marked films that this scores file lacks: {queue.elsewhere:,}"
    words = f"{len(queue.films):,} of {queue.candidates:,} films by {queue.rule}{left}"
    if queue.rule.drawn == "chosen":
        return f"{words}. They are chosen, not drawn: no prevalence follows from their marks."
    weights = np.array([film.weight for film in queue.films])
    return f"{words}, seed {queue.seed}; weights {weights.min():.4g} to {weights.max():.4g}"
