"""The tables and figures of the paper, each with its value, ours, and the reasons for differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cxrscore.metrics import Estimate
from cxrscore.paper import reported
from cxrscore.paper.experiments import CORRECTED, IMAGENET, LITERAL, SERIES, network_label
from cxrscore.paper.results import ExperimentResult
from cxrscore.paper.run import Run

PLACES = ((True, False), (True, True), (False, False), (False, True))
"""First or second network, without and with augmentation; the third is missing in the paper."""
TABLES: tuple[tuple[str, str, str, Mapping[reported.Key, float]], ...] = (
    ("1", "train", "Training accuracy", reported.TRAINING_ACCURACY),
    ("2", "test", "Testing accuracy", reported.TESTING_ACCURACY),
)


@dataclass(frozen=True, kw_only=True)
class ReportedValue:
    """One number or statement: its subject, the value of the paper, and ours (an Estimate, or text)."""

    what: str
    series: str
    paper: str
    ours: Estimate | str


@dataclass(frozen=True, kw_only=True)
class PaperItem:
    """A table or figure of the paper. files: the written files; why: reasons for differences."""

    item: str
    title: str
    files: tuple[str, ...]
    values: tuple[ReportedValue, ...]
    why: tuple[str, ...]


def paper_items(run: Run) -> list[PaperItem]:
    """All of them, in the order of the paper."""
    untold = _general_reasons(run)
    return [
        _film(run, "1", "A training film", "the paper does not say which film it is"),
        _film(
            run,
            "2",
            "The same film, augmented",
            "the paper states neither the film nor how far films were shifted, rotated and zoomed",
        ),
        _losses(run, untold),
        *(_table(run, *table, untold) for table in TABLES),
        *(_auc_item(run, place, untold) for place in ((True, False), (True, True), (False, True))),
        *(_maps(run, number, untold) for number in ("7", "8")),
    ]


def _general_reasons(run: Run) -> tuple[str, ...]:
    """Reasons why no number of the paper can be reproduced exactly."""
    sizes = {name: len(rows) for name, rows in run.data.split.parts()}
    found = [
        "which films were drawn, how many were tested, the seed and the learning rate are not told",
        "whether the base learned too is not certain from the text",
    ]
    short = [
        f"{sizes[name]} films to {word} where the paper had {reported.FILMS[name]}"
        for name, word in (("train", "train"), ("valid", "validate"))
        if sizes[name] != reported.FILMS[name]
    ]
    found += [f"this run has {' and '.join(short)}"] if short else []
    if run.options.epochs != 80 or run.options.size != 400:
        found.append(f"this run has {run.options.epochs} epochs and films of {run.options.size} pixels, not 80 and 400")
    if run.options.networks != ("densenet121", "resnet50") or run.options.weights != "imagenet":
        networks = " and ".join(map(network_label, run.options.networks))
        found.append(f"this run compares {networks}, weights {run.options.weights}, not DenseNet121 and ResNet50")
    return tuple(found)


def _film(run: Run, number: str, title: str, why: str) -> PaperItem:
    ours = "the first training film of this run" if number == "1" else "its first augmented copy"
    value = ReportedValue(what="film", series=CORRECTED, paper="shown, not named", ours=ours)
    files = (f"fig{number}.png", f"fig{number}.json")
    return PaperItem(item=f"Figure {number}", title=title, files=files, values=(value,), why=(why,))


def _losses(run: Run, untold: tuple[str, ...]) -> PaperItem:
    values = tuple(
        ReportedValue(
            what=run.experiment(series, first=place[0], augmented=place[1]).scored.experiment.words,
            series=series,
            paper=reported.LOSSES.get(place, "not run"),
            ours=_loss_words(run.experiment(series, first=place[0], augmented=place[1])),
        )
        for series in (CORRECTED, LITERAL)
        for place in PLACES
    )
    files = tuple(f"fig3{suffix}.{kind}" for suffix in ("", "-literal") for kind in ("png", "csv"))
    return PaperItem(item="Figure 3", title="Losses by epoch", files=files, values=values, why=untold)


def _loss_words(result: ExperimentResult) -> str:
    rows = result.scored.trained.history
    spans = [
        f"{word} loss from {rows[0][name]:.2f} to {rows[-1][name]:.2f}"
        for name, word in (("train_loss", "training"), ("valid_loss", "validation"))
    ]
    return f"{', '.join(spans)}; {len(rows)} epoch{'s' if len(rows) != 1 else ''}"


def _table(
    run: Run, number: str, part: str, title: str, paper: Mapping[reported.Key, float], untold: tuple[str, ...]
) -> PaperItem:
    values = tuple(
        ReportedValue(
            what=one.scored.experiment.words,
            series=series,
            paper=_two(paper.get(place)),
            ours=one.splits[part].accuracy,
        )
        for series in SERIES
        for place in PLACES
        for one in (run.experiment(series, first=place[0], augmented=place[1]),)
    )
    return PaperItem(item=f"Table {number}", title=title, files=(f"table{number}.csv",), values=values, why=untold)


def _two(value: float | None) -> str:
    return "not run" if value is None else f"{value:.2f}"


def _auc_item(run: Run, place: reported.Key, untold: tuple[str, ...]) -> PaperItem:
    number, values = reported.ROC_FIGURES[place], []
    for series in (CORRECTED, LITERAL):
        result = run.experiment(series, first=place[0], augmented=place[1])
        values += [
            ReportedValue(
                what=f"AUC of {one.finding}",
                series=series,
                paper=reported.reported_auc(place, one.finding),
                ours=one.area,
            )
            for one in result.splits["test"].findings
        ]
    words = run.experiment(CORRECTED, first=place[0], augmented=place[1]).scored.experiment.words
    return PaperItem(
        item=f"Figure {number}",
        title=f"ROC curves, {words}",
        files=roc_files(f"fig{number}"),
        values=tuple(values),
        why=(*untold, "the paper gives a number for one finding of each figure, and words for some others")
        if place != (False, True)
        else (*untold, "the paper gives a number for one finding, and words for three"),
    )


def roc_files(stem: str) -> tuple[str, ...]:
    """ROC figures of both recipes: the plots, the AUCs, the points."""
    return tuple(f"{stem}{suffix}{kind}" for suffix in ("", "-literal") for kind in (".png", ".csv", "-curves.csv"))


def _maps(run: Run, number: str, untold: tuple[str, ...]) -> PaperItem:
    place = int(number) - 7
    values = tuple(
        ReportedValue(
            what="four findings and their probabilities",
            series=series,
            paper=reported.HEATMAPS[number],
            ours=", ".join(
                f"{finding} {prob:.3f}" for finding, prob in zip(shown[place].findings, shown[place].prob, strict=True)
            ),
        )
        for series, shown in run.shown.items()
    )
    files = tuple(f"fig{number}{suffix}.{kind}" for suffix in ("", "-literal") for kind in ("png", "json"))
    why = ("the paper drew its films at random and does not name them", *untold[:1])
    return PaperItem(
        item=f"Figure {number}", title="A test film with its heat maps", files=files, values=values, why=why
    )


def table_rows(run: Run, part: str, paper: Mapping[reported.Key, float]) -> list[tuple[ExperimentResult, str]]:
    """Experiments in the order of a table, with the value of the paper as text; only its own recipes have one."""
    return [
        (run.experiment(series, first=first, augmented=augmented), _two(paper.get((first, augmented))))
        for series in (CORRECTED, LITERAL, IMAGENET)
        for first, augmented in PLACES
    ]


def none_if_undefined(value: float) -> float | None:
    """A number for JSON; None if it is not finite."""
    return value if math.isfinite(value) else None
