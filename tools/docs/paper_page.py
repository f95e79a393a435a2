"""Writes paper.md, the numbers of a reproduction of the source paper, from what `cxrscore paper` found.

    python tools/docs/paper_page.py FOLDER/paper.json   # a new run becomes docs/paper.json and docs/paper.md
    python tools/docs/paper_page.py                     # writes the page again from docs/paper.json

tests/docs/test_paper_page.py demands that the page is what its record gives. Neither holds or names a film.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
NOTE = "<!-- Written by tools/docs/paper_page.py from docs/paper.json: run it again, do not change this page. -->"
SERIES = {"paper": "corrected", "paper-literal": "as printed", "paper-imagenet": "corrected, normalised"}
GROUPS = {
    "paper": "Corrected, against each other",
    "paper-literal": "As printed, against each other",
    "paper-imagenet": "Corrected and normalised as the weights expect it, against each other",
    "paper-imagenet - paper": "Normalisation as the weights expect it, against films in 0..1",
    "paper - paper-literal": "Corrected, against as printed",
}
NETWORKS = {"densenet121": "DenseNet121", "resnet50": "ResNet50"}

Record = Mapping[str, Any]


def page(record: Record) -> str:
    """The whole page as Markdown."""
    parts = [
        "# The source paper, reproduced",
        NOTE,
        *_run(record),
        "## In short",
        "\n".join(f"* {line}" for line in record["summary"]),
        *_tables(record),
        *_comparisons(record),
        *_losses(record),
        *_areas(record),
        *_maps(record),
        *_reasons(record),
        *_contradictions(record),
    ]
    return "\n\n".join(parts) + "\n"


def _run(record: Record) -> Iterator[str]:
    films, options, machine = record["films"], record["options"], record["machine"]
    experiments = sum(experiment["seconds"] for experiment in record["experiments"]) / 60
    yield (
        f"`cxrscore paper` of {record['created'][:10]}, cxrscore {record['cxrscore']}: networks "
        f"{' and '.join(options['networks'])}, weights {options['weights']}, films of {options['size']} pixels, at "
        f"most {options['epochs']} epochs, augmented copies: {options['augmentations']}, seed {options['seed']}, by "
        f"{machine['framework']} on {machine['device']} ({machine['system']}, {machine['cores']} cores)."
    )
    yield (
        f"Training of the {len(record['experiments'])} experiments, the frozen networks' passes over films and "
        f"augmented copies included: {experiments:.1f} minutes, each counted in the process that finished it."
    )
    yield (
        f"Of {films['labelled']} labelled films {films['train']} were drawn to train, {films['valid']} to validate and "
        f"{films['test']} to test, {films['rule']}; {films['leak_count']} leaks. The paper had 402 and 40, and does "
        "not say how many it tested. Every figure stands with its 95 % interval over films, in brackets; what another "
        "seed, split or training run would change is not in it. The experiment was run by three sets of rules, each "
        "time with all four experiments, of which the paper has three:"
    )
    yield (
        "* corrected (recipe `paper`): sigmoid, equation 7 with -log(1 - P) for negatives and crossed weights, all "
        "films; else as printed\n"
        "* as printed (recipe `paper-literal`): softmax, -log P in both branches, literal weights, whole batches only\n"
        "* corrected, normalised: films as each network's ImageNet weights expect them, where the paper has 0..1"
    )


def _tables(record: Record) -> Iterator[str]:
    yield "## Tables 1 and 2: accuracy"
    yield (
        "Label accuracy is the paper's equation 1. It is to be read beside what a program gets that always says no; "
        "“above it” is the paired difference."
    )
    for item, part in (("Table 1", "train"), ("Table 2", "test")):
        found = next(one for one in record["items"] if one["item"] == item)
        yield f"### {item}: {found['title'].lower()}"
        yield _table(
            ("rules", "network", "paper", "label accuracy", "always no", "above it", "balanced accuracy", "macro AUC"),
            [_accuracy(experiment, value, part) for experiment, value in _paired(record, found["values"])],
        )


def _paired(record: Record, values: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Each experiment with its value of the table."""
    for value in values:
        yield (
            next(c for c in record["experiments"] if c["series"] == value["series"] and _words(c) == value["name"]),
            value,
        )


def _words(experiment: Record) -> str:
    network = NETWORKS.get(experiment["network"], experiment["network"])
    return f"{network} {'with' if experiment['augmented'] else 'without'} augmentation"


def _accuracy(experiment: Record, value: Record, part: str) -> tuple[str, ...]:
    one = experiment["splits"][part]
    figures = (one["above_negative_baseline"], one["balanced_accuracy"], one["macro_auc"])
    told = (SERIES[experiment["series"]], _words(experiment), value["paper"], _interval(one["label_accuracy"]))
    return (*told, _three(one["negative_baseline"]), *map(_interval, figures))


def _comparisons(record: Record) -> Iterator[str]:
    yield "## Comparisons on the test films"
    yield (
        "Paired film by film, AUC by DeLong's method. “Better” and “worse” are said only where the interval leaves out "
        "0; of so many comparisons one in twenty would by chance. By label accuracy whoever says no more often wins."
    )
    for group, title in GROUPS.items():
        claims = [claim for claim in record["comparisons"] if claim["group"] == group]
        rows = [(c["text"], c["metric"], _interval(c["difference"]), c["paper_statement"]) for c in claims]
        yield f"### {title}"
        yield _table(("outcome", "by", "difference", "the paper says"), rows)


def _losses(record: Record) -> Iterator[str]:
    yield "## Figure 3: losses"
    found = next(item for item in record["items"] if item["item"] == "Figure 3")
    rows = [(SERIES[v["series"]], v["name"], v["paper"], v["ours"]["text"]) for v in found["values"]]
    yield _table(("rules", "network", "paper", "ours"), rows)


def _areas(record: Record) -> Iterator[str]:
    yield "## Figures 4 to 6: AUC on the test films"
    yield (
        "By Mann-Whitney, which trapezoids equal; the binormal area is a model's. Of the experiment that the paper "
        "lacks the last table tells."
    )
    for title, network, augmented in _experiments_of_figures(record):
        corrected, printed = (_experiment(record, series, network, augmented) for series in ("paper", "paper-literal"))
        said = {
            value["name"].removeprefix("AUC of "): value["paper"]
            for item in record["items"]
            if item["item"] == title
            for value in item["values"]
        }
        pairs = zip(corrected["splits"]["test"]["findings"], printed["splits"]["test"]["findings"], strict=True)
        yield f"### {title}: {_words(corrected)}"
        yield _table(
            ("finding", "positive", "paper", "corrected", "binormal", "as printed"),
            [_area(ours, theirs, said) for ours, theirs in pairs],
        )


def _experiments_of_figures(record: Record) -> list[tuple[str, str, bool]]:
    first, second = record["options"]["networks"]
    experiments = (("Figure 4", first, False), ("Figure 5", first, True), ("Figure 6", second, True))
    return [*experiments, ("The missing experiment", second, False)]


def _experiment(record: Record, series: str, network: str, augmented: bool) -> Record:
    wanted = (series, network, augmented)
    return next(c for c in record["experiments"] if (c["series"], c["network"], c["augmented"]) == wanted)


def _area(ours: Record, theirs: Record, said: Mapping[str, str]) -> tuple[str, ...]:
    paper = said.get(ours["finding"], "not run")
    told = (ours["finding"], str(ours["positives"]), paper, _interval(ours["auc"]))
    return (*told, _three(ours["binormal"]), _interval(theirs["auc"]))


def _maps(record: Record) -> Iterator[str]:
    yield "## Figures 7 and 8: heat maps"
    yield "Two test films were drawn and explained; the films themselves stay with whoever runs the command."
    rows = [
        (item["item"], SERIES[value["series"]], value["paper"], value["ours"]["text"])
        for item in record["items"]
        if item["item"] in ("Figure 7", "Figure 8")
        for value in item["values"]
    ]
    yield _table(("figure", "rules", "paper", "ours"), rows)


def _reasons(record: Record) -> Iterator[str]:
    yield "## Why it cannot be the same"
    yield _table(("item", "because"), [(item["item"], "; ".join(item["why"])) for item in record["items"]])


def _contradictions(record: Record) -> Iterator[str]:
    yield "## Contradictions"
    yield "Where the paper contradicts itself, is wrong or silent, and what this run measured of it."
    rows = [
        (str(row["number"]), row["statement"], row["problem"], row["resolution"], row["measurement"])
        for row in record["contradictions"]
    ]
    yield _table(("", "the paper says", "what is the matter", "what was done", "measured"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])


def _interval(figure: Record) -> str:
    if figure["low"] is None:
        return f"{_three(figure['value'])} ({figure['why']})"
    return f"{_three(figure['value'])} ({_three(figure['low'])} to {_three(figure['high'])})"


def _three(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    kept = DOCS / "paper.json"
    if len(sys.argv) > 1:
        found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        kept.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    (DOCS / "paper.md").write_text(page(json.loads(kept.read_text(encoding="utf-8"))), encoding="utf-8")
