"""What is on a page that was asked for more: other files, groups, boxes; and on one that leaked."""

import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_scores import made_scores
from test_report_compare import changed
from test_report_page import ATTRIBUTES, ELEMENTS, Page, written

from cxrscore.reporting import NamedScores, figures

pytestmark = pytest.mark.slow

EVIL = '"><script>x</script>'


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sections")
    scores = made_scores()
    document = scores.provenance["models"][0]["document"]
    document["training"]["has_leakage"] = True
    document["validation"] = {"score_quantiles": {"Mass": np.linspace(0.9, 1, 21).tolist()}}
    groups, bounding_boxes = folder / "groups.csv", folder / "boxes.csv"
    cells = [("F", EVIL.replace('"', "'"))[row % 2] for row in range(200)]
    rows = [
        f'"{path}",{cell}\n' for row, (path, cell) in enumerate(zip(scores.films.path, cells, strict=True)) if row != 90
    ]
    groups.write_text("film,<i>site\n" + "".join(rows), encoding="utf-8")
    films = np.unique(scores.heat_maps.film)
    bounding_boxes.write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h]\n"
        + "".join(
            f"{scores.films.path[film]},{scores.findings[column]},100,100,500,500\n"
            for film, column in zip(scores.heat_maps.film, scores.heat_maps.finding, strict=True)
            if film in films[50:60]
        )
    )
    other = dataclasses.replace(changed(scores, 3.0), provenance={})
    return written(
        scores,
        folder,
        others=[NamedScores(name=EVIL, scores=other)],
        groups=groups,
        group_by=["<i>site"],
        bounding_boxes=bounding_boxes,
        figures=folder / "figures",
    )


def test_only_known_elements_and_all_of_it_text(report: tuple[str, Page, dict[str, Any]]) -> None:
    html, page, _ = report
    assert {tag for tag, _ in page.elements} <= set(ELEMENTS.split())
    assert {name for _, attributes in page.elements for name in attributes} <= set(ATTRIBUTES.split())
    assert page.open == []
    assert "<script" not in html
    assert "<i>" not in html
    assert page.text.count(EVIL) >= 2
    assert "By <i>site" in page.text


def test_who_sees_nothing_is_served(report: tuple[str, Page, dict[str, Any]]) -> None:
    _, page, _ = report
    assert all(image["alt"] for image in page.all("img"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a") if "download" not in link} <= {f"#{name}" for name in ids}
    assert {f"#{attributes['id']}" for _, attributes in page.elements if attributes.get("class") == "body"} <= {
        link["href"] for link in page.all("a")
    }
    assert page.all("a")[0] == {"class": "skip", "href": "#summary"}


def test_a_leak_is_loud(report: tuple[str, Page, dict[str, Any]]) -> None:
    html, page, told = report
    assert "<title>LEAKED: " in html
    assert page.text.index("LEAKED") < page.text.index("films were scored")
    assert "LEAKED: the partitions are not disjoint" in page.text
    assert told["warnings"][0].startswith("LEAKED")


def test_the_comparison_says_what_it_returns(report: tuple[str, Page, dict[str, Any]]) -> None:
    _, page, told = report
    (other,) = told["comparison"]["others"]
    verdicts = [one["verdict"] for one in other["findings"]]
    assert verdicts.count("worse") > 0
    worse = [one["finding"] for one in other["findings"] if one["verdict"] == "worse"]
    assert f"worse in {', '.join(worse)}. More" in page.text
    assert "; better in" not in page.text
    difference = f"{other['macro_auc']['difference']:+.3f}".replace("-", "−")
    assert f"macro AUC {difference}" in page.text
    assert "corrected for 12 tests (Holm)" in page.text
    assert "On 137 labelled films that all files have scored" in page.text
    assert "58 films that a model saw in training or validation are excluded" in page.text
    assert "the training films of the model are unknown" in page.text


def test_subgroups_boxes_and_drift_are_told(report: tuple[str, Page, dict[str, Any]]) -> None:
    _, page, told = report
    assert [group["name"] for group in told["subgroups"][0]["groups"]] == ["'><script>x</script>", "F"]
    assert told["subgroups"][0]["excluded_groups"] == {}
    assert told["localisation"]["findings"][-1]["films"] == 40
    assert "with boxes drawn by readers, for 40 pairs of film and finding; the table has 40 boxes." in page.text
    assert told["drift"]["Mass"] > 0.5
    assert "distribution differs" in page.text
    json.dumps(told, allow_nan=False)


def test_figures_of_the_sections_are_saved(report: tuple[str, Page, dict[str, Any]]) -> None:
    names = [Path(name).name for name in report[2]["figures"]]
    assert names[:9] == [
        f"{name}.png"
        for name in (
            *("auc-by-finding", "roc", "precision-recall", "probability-prevalence", "calibration"),
            *("distributions", "loss", "comparison", "subgroups-01"),
        )
    ]


def test_the_figure_of_subgroups_can_be_saved(report: tuple[str, Page, dict[str, Any]]) -> None:
    links = [one for tag, one in report[1].elements if tag == "a" and one.get("download") == "subgroups-i-site.svg"]
    assert len(links) == 1
    assert (links[0]["href"] or "").startswith("data:image/svg+xml;base64,")


def test_seen_films_among_the_highest_are_counted_without_labels_too(tmp_path: Path) -> None:
    _, page, _ = written(made_scores(labels=False), tmp_path)
    assert "58 of them were in training or validation" in page.text


def test_only_what_was_asked_for_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DOTS", 20)
    _, page, told = written(made_scores(labels=False), tmp_path)
    sections = {attributes["id"] for _, attributes in page.elements if attributes.get("class") == "body"}
    assert not sections & {"calibration", "thresholds", "comparison", "subgroups", "localisation"}
    assert (told["comparison"], told["subgroups"], told["localisation"]) == (None, [], None)
    assert "does not contain the distribution of its validation scores" in page.text
