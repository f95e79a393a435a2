"""Writes paper.md, the results of a reproduction of the source paper, from the record of `cxrscore paper`.

    python tools/docs/paper_page.py FOLDER/paper.json   # a new run becomes docs/paper.json and docs/paper.md
    python tools/docs/paper_page.py                     # the page again, from docs/paper.json

A test checks that the page agrees with its record. Neither contains or names a film.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrscore.paper.reported import contradiction_texts

DOCS = Path(__file__).parents[2] / "docs"
NOTE = "<!-- Written by tools/docs/paper_page.py from docs/paper.json: run it again, do not edit this page. -->"
SERIES = {"paper": "corrected", "paper-literal": "as printed", "paper-imagenet": "normalised"}
GROUPS = {
    "paper": "corrected",
    "paper-literal": "as printed",
    "paper-imagenet": "normalised",
    "paper-imagenet - paper": "normalised − corrected",
    "paper - paper-literal": "corrected − as printed",
}
PRINTED = ("statement", "problem", "measurement")
NETWORKS = {"densenet121": "DenseNet121", "resnet50": "ResNet50"}

Record = Mapping[str, Any]


def page(record: Record) -> str:
    """The whole page as Markdown."""
    parts = [
        "# The source paper, reproduced",
        NOTE,
        *_run(record),
        *_differences(record),
        *_summary(record),
        *_accuracies(record),
        *_comparisons(record),
        *_losses(record),
        *_aucs(record),
        *_heatmaps(record),
        *_contradictions(record),
    ]
    return "\n\n".join(parts) + "\n"


def _run(record: Record) -> Iterator[str]:
    films, options, machine = record["films"], record["options"], record["machine"]
    minutes = sum(cell["seconds"] for cell in record["experiments"]) / 60
    yield "```sh\ncxrscore paper ./films -o paper    # writes paper/paper.html with every table and figure\n```"
    yield (
        "The command repeats the experiments of the paper on your films: DenseNet121 and ResNet50 with frozen ImageNet "
        "weights, with and without augmentation. Because the paper contradicts itself, each experiment runs under "
        "three sets of rules:"
    )
    yield (
        "* **corrected** (recipe `paper`): sigmoid; −log(1 − P) for negatives; exchanged class weights; all films\n"
        "* **as printed** (recipe `paper-literal`): softmax; −log P in both branches of equation 7; literal weights; "
        "complete batches only\n"
        "* **normalised**: corrected, with films normalised as the ImageNet weights expect; the paper uses 0..1"
    )
    yield (
        f"This page shows one run, of {record['created'][:10]}: {films['train']} films for training, {films['valid']} "
        f"for validation and {films['test']} for testing, split by patient; {options['size']} pixels; at most "
        f"{options['epochs']} epochs; {options['augmentations']} augmented copies; seed {options['seed']}; "
        f"{machine['framework']} on {machine['device']} ({machine['system']}, {machine['cores']} cores), "
        f"{minutes:.1f} minutes of training. Intervals are 95 %, over films, in parentheses. They do not cover another "
        "seed, split or training run."
    )


def _differences(record: Record) -> Iterator[str]:
    yield "## Why the numbers cannot be the same"
    yield (
        "The paper does not state which films it used, how many it tested, the seed, the learning rate, or the limits "
        "of the augmentation, and it is not clear whether the backbone was trained. The films of Figures 1, 2, 7 and 8 "
        "are not named. Figures 4 to 6 give one AUC each, and words for other findings. The paper trained on 402 "
        f"films, this run on {record['films']['train']}."
    )


def _summary(record: Record) -> Iterator[str]:
    yield "## Summary"
    said: dict[str, list[str]] = {}
    for one, other in _pairs(record):
        if one["paper_statement"] and one["group"] != "paper-literal":
            verdicts = f"{one['verdict']} by label accuracy, {other['verdict']} by macro AUC"
            said.setdefault(one["paper_statement"], []).append(f"{SERIES[one['group']]}: {verdicts}")
    claims = [f"* “{claim}”, with augmentation: {'; '.join(found)}." for claim, found in said.items()]
    above = [cell["splits"]["test"]["above_negative_baseline"] for cell in record["experiments"]]
    printed = [
        cell["splits"]["test"]["macro_auc"] for cell in record["experiments"] if cell["series"] == "paper-literal"
    ]
    better, worse = sum(one["low"] > 0 for one in above), sum(one["high"] < 0 for one in above)
    chance = sum(one["low"] <= 0.5 <= one["high"] for one in printed)
    counts = [
        f"* Label accuracy is better than always answering “no” in {better} of {len(above)} experiments, worse "
        f"in {worse}.",
        f"* As printed, the interval of the macro AUC includes 0.5 (chance) in {chance} of {len(printed)} experiments.",
    ]
    yield "\n".join([*claims, *counts])


def _accuracies(record: Record) -> Iterator[str]:
    yield "## Tables 1 and 2: accuracy"
    yield (
        "Label accuracy is equation 1 of the paper. Compare it with the accuracy of always answering “no”: "
        f"{_always_no(record, 'train')} on training films, {_always_no(record, 'test')} on test films. “+” means with "
        "augmentation. The last three columns are on test films."
    )
    head = ("rules", "network", "Table 1: training", "Table 2: test", "above “no”", "balanced accuracy", "macro AUC")
    yield _table(head, [*_paper_accuracies(record), *map(_accuracy, record["experiments"])])


def _accuracy(cell: Record) -> tuple[str, ...]:
    train, test = cell["splits"]["train"], cell["splits"]["test"]
    columns = ("label_accuracy", "above_negative_baseline", "balanced_accuracy", "macro_auc")
    figures = [train["label_accuracy"], *(test[name] for name in columns)]
    return (SERIES[cell["series"]], _short(_words(cell)), *map(_interval, figures))


def _paper_accuracies(record: Record) -> Iterator[tuple[str, ...]]:
    """The paper's own values of both tables."""
    found = {item["item"]: item["values"] for item in record["items"]}
    for train, test in zip(found["Table 1"], found["Table 2"], strict=True):
        if train["series"] == "paper" and train["paper"] != "not run":
            yield ("paper", _short(train["name"]), train["paper"], test["paper"], "", "", "")


def _always_no(record: Record, split: str) -> str:
    """The accuracy of always answering no; the same in all experiments."""
    found = [_three(one["splits"][split]["negative_baseline"]) for one in record["experiments"]]
    return " or ".join(dict.fromkeys(found))


def _words(cell: Record) -> str:
    return f"{NETWORKS.get(cell['network'], cell['network'])} {'with' if cell['augmented'] else 'without'} augmentation"


def _short(words: str) -> str:
    """Names of experiments, short: "DenseNet121 +" is with augmentation."""
    for name in NETWORKS.values():
        words = words.replace(f"{name} with augmentation", f"{name} +").replace(f"{name} without augmentation", name)
    return words


def _pairs(record: Record) -> list[tuple[Record, Record]]:
    """Each comparison by label accuracy, with the same by macro AUC."""
    claims = record["comparisons"]
    pairs = list(zip(claims[::2], claims[1::2], strict=True))
    if any((one["metric"], other["metric"]) != ("label accuracy", "macro AUC") for one, other in pairs):
        raise ValueError("the comparisons of the record are not in pairs of label accuracy and macro AUC")
    return pairs


def _comparisons(record: Record) -> Iterator[str]:
    yield "## Comparisons on the test films"
    yield (
        "First minus second, paired by film; AUC by DeLong. **Bold**: the interval excludes 0, as about one in twenty "
        "does by chance. Label accuracy favours whoever answers “no” more often."
    )
    yield _compared(record, [group for group in GROUPS if " - " not in group])
    yield _compared(record, [group for group in GROUPS if " - " in group])


def _compared(record: Record, groups: Sequence[str]) -> str:
    """A table of comparisons that are the same in these groups: two columns for each."""
    rows: dict[str, list[str]] = {}
    for one, other in _pairs(record):
        if one["group"] in groups:
            first = _short(one["first"].partition(",")[0])
            name = first if " - " in one["group"] else f"{first} vs {_short(one['second'])}"
            rows.setdefault(name, []).extend(map(_difference, (one, other)))
    head = [f"{GROUPS[group]}: {figure}" for group in groups for figure in ("accuracy", "AUC")]
    return _table(("", *head), [(name, *cells) for name, cells in rows.items()])


def _difference(claim: Record) -> str:
    """A difference with its interval, bold where it is not 0."""
    interval = _interval(claim["difference"])
    return interval if claim["verdict"] == "no difference shown" else f"**{interval}**"


def _losses(record: Record) -> Iterator[str]:
    yield "## Figure 3: losses"
    yield "The paper: training loss from 1 to nearly 0, validation loss from 1 to almost 5."
    found = next(item for item in record["items"] if item["item"] == "Figure 3")
    rows = [(SERIES[v["series"]], _short(v["name"]), *_loss(v["ours"]["text"])) for v in found["values"]]
    yield _table(("rules", "network", "training loss", "validation loss", "epochs"), rows)


def _loss(words: str) -> tuple[str, ...]:
    """The columns of "training loss from A to B, validation loss from C to D; N epochs"."""
    losses, _, epochs = words.partition("; ")
    train, _, valid = losses.partition(", ")
    return (train.removeprefix("training loss from "), valid.removeprefix("validation loss from "), epochs.split()[0])


def _aucs(record: Record) -> Iterator[str]:
    yield "## Figures 4 to 6: AUC on the test films"
    places = _experiments_of_figures(record)
    yield (
        "Corrected rules; `paper.html` also has the binormal AUC and the AUCs as printed. The paper has no ResNet50 "
        "without augmentation. It says:"
    )
    yield "\n".join(f"* {item}: {_said(record, item)}." for item, _, _ in places if item)
    found = [_experiment(record, network, augmented)["splits"]["test"]["findings"] for _, network, augmented in places]
    rows = [
        (same[0]["finding"], str(same[0]["positives"]), *(_interval(one["auc"]) for one in same))
        for same in zip(*found, strict=True)
    ]
    names = [_short(_words(_experiment(record, *place))) + f" ({item})" * bool(item) for item, *place in places]
    yield _table(("finding", "positive", *names), rows)


def _said(record: Record, item: str) -> str:
    """What the paper says of the AUCs of a figure, findings of which it says the same together."""
    found: dict[str, list[str]] = {}
    for value in next(one["values"] for one in record["items"] if one["item"] == item):
        if value["series"] == "paper":
            found.setdefault(value["paper"], []).append(value["name"].removeprefix("AUC of "))
    *few, (most, _) = sorted(found.items(), key=lambda one: len(one[1]))
    return "; ".join([*(f"{words} for {', '.join(findings)}" for words, findings in few), f"{most} for the others"])


def _experiments_of_figures(record: Record) -> list[tuple[str, str, bool]]:
    first, second = record["options"]["networks"]
    return [("Figure 4", first, False), ("Figure 5", first, True), ("Figure 6", second, True), ("", second, False)]


def _experiment(record: Record, network: str, augmented: bool) -> Record:
    wanted = ("paper", network, augmented)
    return next(c for c in record["experiments"] if (c["series"], c["network"], c["augmented"]) == wanted)


def _heatmaps(record: Record) -> Iterator[str]:
    yield "## Figures 7 and 8: heat maps"
    yield "The probabilities of two random test films. The images are in the folder of the run only."
    rows = [
        (item["item"], SERIES[value["series"]], value["paper"], value["ours"]["text"])
        for item in record["items"]
        if item["item"] in ("Figure 7", "Figure 8")
        for value in item["values"]
    ]
    yield _table(("figure", "rules", "paper", "here"), rows)


def _contradictions(record: Record) -> Iterator[str]:
    yield "## Contradictions"
    yield (
        "Where the paper contradicts itself, is wrong or says nothing: the paper in italics, the problem, and what "
        "this run measured. `paper.html` also says what was done about each."
    )
    lines = []
    for row, texts in zip(record["contradictions"], contradiction_texts(), strict=True):
        # A text with measurements is that of the record, any other the present one.
        says, problem, measured = (row[name] if "{" in texts[name] else texts[name] for name in PRINTED)
        lines.append(f"{row['number']}. *{says}* {problem}" + f" **Measured:** {_short(measured)}" * bool(measured))
    yield "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])


def _interval(figure: Record) -> str:
    """A value and its interval: with a dash between positive ends, else with "to"."""
    if figure["low"] is None:
        return f"{_three(figure['value'])} ({figure['why']})"
    between = " to " if figure["low"] < 0 else "–"
    return f"{_three(figure['value'])} ({_three(figure['low'])}{between}{_three(figure['high'])})"


def _three(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}".replace("-", "−")


if __name__ == "__main__":
    kept = DOCS / "paper.json"
    if len(sys.argv) > 1:
        found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        kept.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    (DOCS / "paper.md").write_text(page(json.loads(kept.read_text(encoding="utf-8"))), encoding="utf-8")
