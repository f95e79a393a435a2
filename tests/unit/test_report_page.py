"""The report as a file: complete, self-contained, and unmoved by what a scores file says."""

import dataclasses
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from choice_scores import ruled
from report_scores import EVIL, FINDINGS, TURNED, made_scores
from test_report_summary import imported

from cxrscore.errors import InputError, WriteError
from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.images import Status
from cxrscore.reporting import page as page_module
from cxrscore.reporting import write_report
from cxrscore.reporting.page import SECTIONS
from cxrscore.reporting.summary import MIN_PATIENTS
from cxrscore.scorefile.data import HeatMaps, Scores, Thumbnails

pytestmark = pytest.mark.slow

ELEMENTS = """
html head meta title style body header main footer nav section article h1 h2 h3 h4 p b strong small span bdi a ul ol li
dl dt dd div figure figcaption img table thead tbody tfoot tr th td details summary pre code br
"""
ATTRIBUTES = """
lang charset http-equiv content name id class href src alt scope role aria-label aria-labelledby aria-describedby
tabindex open download colspan
"""
VOID = ("meta", "img", "br")


class Page(HTMLParser):
    """What stands in a page: elements with attributes, text, and whether all that opens closes in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def written(scores: Scores, folder: Path, **options: Any) -> tuple[str, Page, dict[str, Any]]:
    output = folder / "out.html"
    told = write_report(scores, output, source=options.pop("source", "out.h5"), **options)
    html = output.read_text(encoding="utf-8")
    return html, Page(html), told


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page, dict[str, Any]]:
    return written(made_scores(), tmp_path_factory.mktemp("report"))


def test_only_known_elements_and_attributes(report: tuple[str, Page, dict[str, Any]]) -> None:
    html, page, _ = report
    assert {tag for tag, _ in page.elements} <= set(ELEMENTS.split())
    assert {name for _, attributes in page.elements for name in attributes} <= set(ATTRIBUTES.split())
    assert page.open == []
    assert html.startswith("<!DOCTYPE html>")


def test_nothing_is_asked_for_from_outside(report: tuple[str, Page, dict[str, Any]]) -> None:
    html, page, _ = report
    assert all(
        (image["src"] or "").startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))
        for image in page.all("img")
    )
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a") if "download" not in link} <= {f"#{name}" for name in ids}
    saved = [link["href"] or "" for link in page.all("a") if "download" in link]
    assert all(link.startswith(("data:image/svg+xml;base64,", "data:text/csv;charset=utf-8;base64,")) for link in saved)
    assert "://" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_the_policy_comes_before_anything_it_governs(report: tuple[str, Page, dict[str, Any]]) -> None:
    metas = report[1].all("meta")
    assert metas[1]["http-equiv"] == "Content-Security-Policy"
    policy = (metas[1]["content"] or "").split("; ")
    assert policy[:3] == ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]


def test_a_reader_who_sees_nothing_is_served(report: tuple[str, Page, dict[str, Any]]) -> None:
    page = report[1]
    assert all(image["alt"] for image in page.all("img"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))


def test_more_than_four_warnings_fold(tmp_path: Path, report: tuple[str, Page, dict[str, Any]]) -> None:
    assert 'class="more"' not in report[0]
    scores = made_scores()
    scores.provenance["warnings"] = [f"warning number {place}" for place in range(1, 7)]
    html, page, _ = written(scores, tmp_path)
    # Six of the run, few positives and calibration: four are shown, four are folded.
    assert "4 more warnings" in page.text
    fold = html.index('<details class="more">')
    assert html.index("warning number 4") < fold < html.index("warning number 5") < html.index("Use them to rank films")


def test_the_page_folds_its_record_and_names_each_section_once(report: tuple[str, Page, dict[str, Any]]) -> None:
    html, page, _ = report
    folded = [name for name in SECTIONS if f'<details>\n<summary><h2 id="{name}-title">' in html]
    assert folded == ["provenance", "checklists", "glossary"]
    titles = re.findall(r"<h2 id=\"([a-z-]+)-title\">", html)
    links = [(link["href"] or "").removeprefix("#") for link in page.all("a")]
    first = links.index(titles[0])
    assert links[first : first + len(titles)] == titles


def test_names_of_films_are_text(report: tuple[str, Page, dict[str, Any]]) -> None:
    html, page, _ = report
    assert EVIL in page.text
    assert "<script" not in html
    assert "\u202e" not in html
    assert TURNED.replace("\u202e", "[U+202E]") in page.text


def test_whatever_a_scores_file_says_is_text(tmp_path: Path) -> None:
    evil = '"><script>x</script><img src=//x onerror=y>\u2066\x1b\n{{ 7*7 }}&amp;'
    scores = made_scores()
    scores.provenance["warnings"].append(evil)
    scores.provenance["explainer"]["cam_layer"] = evil
    scores.provenance["backend"]["framework"] = evil
    scores.provenance["models"][0]["document"]["training"]["monitor"] = evil
    scores.provenance[evil] = evil
    films = dataclasses.replace(scores.films, path=(evil,) * 200, message=(evil,) * 200)
    html, page, told = written(dataclasses.replace(scores, films=films), tmp_path, source=evil)
    assert {tag for tag, _ in page.elements} <= set(ELEMENTS.split())
    assert {name for _, attributes in page.elements for name in attributes} <= set(ATTRIBUTES.split())
    assert not re.search("[\u2066\x1b]", html)
    assert page.text.count(escape_control_characters(evil)) > 20
    assert evil in told["warnings"]


def test_findings_with_any_name(tmp_path: Path) -> None:
    names = ("<b>$x$</b>", "a{{b}}", "\u202eback", *FINDINGS[3:])
    _, page, told = written(dataclasses.replace(made_scores(), findings=names), tmp_path)
    assert "<b>$x$</b>" in page.text
    assert told["findings"][1]["finding"] == "a{{b}}"


def test_the_page_shows_the_numbers_it_returns(report: tuple[str, Page, dict[str, Any]]) -> None:
    _, page, told = report
    # One of the 13 findings has no interval of its own, so their mean has none.
    assert told["macro_auc_interval"] is None
    assert told["macro_auc_why"].startswith("1 of 13 findings have none: no positive and negative film overlap")
    known = told["macro_auc_with_interval"]
    low, high = known["interval"]
    words = f"without an interval; over the 12 findings with a known variance: {known['value']:.2f}, "
    words += f"95 % interval {low:.2f} to {high:.2f}"
    assert known["findings"] == 12
    assert f"the macro AUC over 13 of 14 findings is {told['macro_auc']:.2f} ({words}); 5 films could" in page.text
    curves = next(image["alt"] for image in page.all("img") if (image["alt"] or "").startswith("ROC curves"))
    for one in told["findings"][:13]:
        if one["positives"] < MIN_PATIENTS:
            assert f"{one['finding']} ({one['positives']} positive)" in page.text
            continue
        ends = one["auc_interval"]
        interval = f" ({'–'.join(f'{end:.2f}' for end in ends)})" if ends else ""
        count = f"{one['positives']} of {one['positives'] + one['negatives']} positive"
        assert f"{one['finding']} AUC {one['auc']:.3f}{interval}, {count}" in curves
    assert "58 labelled films of the training and validation splits excluded from all metrics" in page.text


def test_an_undefined_auc_says_why_and_is_no_number(report: tuple[str, Page, dict[str, Any]]) -> None:
    _, page, told = report
    hernia = told["findings"][-1]
    assert (hernia["finding"], hernia["positives"], hernia["negatives"]) == ("Hernia", 0, 137)
    assert hernia["auc"] is hernia["threshold"] is hernia["sensitivity"] is hernia["specificity"] is None
    assert "Hernia (no positive)" in page.text
    assert "AUC undefined: 0 positive, 137 negative" in page.text
    assert "nan" not in re.sub("[^a-z]", " ", page.text.lower()).split()


def test_few_positives_are_marked(tmp_path: Path) -> None:
    scores = made_scores()
    scores.truth[60:, :2] = 0
    scores.truth[70:80, 0], scores.truth[70:74, 1] = 1, 1
    scores.truth[79, 0] = 0  # nine positive films of the first finding, four of the second
    _, page, _ = written(scores, tmp_path)
    assert page.text.count("imprecise: positive films of fewer than 10 patients") == 1
    assert page.text.count("too few positives for an interval (4 patients, at least 5)") == 1


def test_seen_films_come_under_a_warning(tmp_path: Path) -> None:
    _, page, told = written(made_scores(split="valid"), tmp_path)
    assert (told["held_out"], told["evaluation_set"]) == (0, {"films": 195, "basis": "training"})
    assert page.text.index("that the model saw in training or validation") < page.text.index("macro AUC")
    assert "All labelled films were in training or validation" in page.text
    assert "on 195 films seen in training or validation" in page.text


def test_a_model_that_others_trained_is_said_to_be_so(report: tuple[str, Page, dict[str, Any]], tmp_path: Path) -> None:
    assert "chosen on the validation films of the model" in report[1].text
    assert "thresholds chosen on validation films" in report[1].text
    scores = made_scores(split="")
    imported(scores)
    scores.films.split[:] = 0
    text = written(scores, tmp_path)[1].text
    assert "on 195 films that the model may have seen" in text
    assert "on 195 labelled films of 195 patients that the model may have seen in training, the" in text
    assert "whether the model was trained on them is not recorded" in text
    assert "came with the imported model, chosen on unknown films" in text
    assert "thresholds chosen by the source of the model, on films that are not recorded" in text
    for words in ("on validation films", "the validation films of", "held-out films", "train 0", "rule not known"):
        assert words not in text
    for words in ("were in neither the training nor", "none of which the model saw"):
        assert words not in text


def test_seen_films_without_labels_do_not_count_as_left_out(tmp_path: Path) -> None:
    scores = made_scores()
    scores.truth[:60] = np.nan
    text = written(scores, tmp_path)[1].text
    assert "excluded from all metrics" not in text


def test_without_labels_the_page_is_still_worth_opening(tmp_path: Path) -> None:
    _, page, told = written(made_scores(labels=False), tmp_path)
    assert told["macro_auc"] is None
    assert "no scored film has a label, so there is no AUC" in page.text
    pictures = [image["alt"] or "" for image in page.all("img")]
    (histograms,) = (alt for alt in pictures if alt.startswith("Histograms"))
    assert all(f"{finding} 195 films" in histograms for finding in FINDINGS)
    assert sum(alt.startswith("Heat map") for alt in pictures) >= 14
    assert not any(alt.startswith("ROC") for alt in pictures)


def test_a_run_of_which_nothing_is_known(tmp_path: Path) -> None:
    scores = made_scores()
    bare = dataclasses.replace(
        scores,
        provenance={},
        thresholds=np.full(14, np.nan, np.float32),
        films=dataclasses.replace(scores.films, status=np.full(200, Status.DAMAGED, np.uint8)),
        heat_maps=HeatMaps(
            map=np.zeros((0, 1, 1), np.float16), film=np.zeros(0, np.int32), finding=np.zeros(0, np.int16)
        ),
        thumbnails=Thumbnails(film=np.zeros(0, np.int32), pixels=np.zeros((0, 8, 8), np.uint8)),
    )
    _, page, told = written(bare, tmp_path, figures=tmp_path / "figures")
    assert (told["films"]["failed"], told["figures"]) == (200, [])
    assert "None of the 200 films could be scored" in page.text
    for words in ("no training history", "contains no provenance"):
        assert words in page.text
    assert {f"#{name}" for name in ("highest", "heat-maps", "distributions")}.isdisjoint(
        link["href"] for link in page.all("a")
    )


def test_heat_maps_name_explainer_tap_scale_and_emptiness(report: tuple[str, Page, dict[str, Any]]) -> None:
    page = report[1]
    assert "by grad-cam at layer relu" in page.text
    articles = len(page.all("article"))
    assert 14 < articles <= 42
    drawn = page.text.count("of the strongest map of this finding.")
    assert drawn + page.text.count("No map: no positive evidence.") == articles > drawn
    assert len(re.findall(r"Scale 0 to \d", page.text)) == 14
    assert "No film is a true positive: Hernia." in re.sub(r"\s+", " ", page.text)


def test_the_page_says_among_which_films_it_chose(report: tuple[str, Page, dict[str, Any]], tmp_path: Path) -> None:
    assert "chosen by a rule among the 137 held-out films" in report[1].text
    assert "Seen by the model" not in report[1].text
    seen = written(made_scores(split="valid"), tmp_path)[1].text
    assert "chosen by a rule among the 195 films seen in training or validation" in seen
    assert "Seen by the model in validation." in seen


def test_the_page_says_what_it_is_not_for(report: tuple[str, Page, dict[str, Any]]) -> None:
    assert "Research use only, not for diagnosis." in report[1].text
    assert "It is not the chance that a patient has the disease" in report[1].text


def test_size(report: tuple[str, Page, dict[str, Any]]) -> None:
    assert 100_000 < len(report[0]) < 5_000_000


def test_large_thumbnails_stay_small_in_the_page(tmp_path: Path) -> None:
    scores = made_scores()
    pixels = np.random.default_rng(0).integers(0, 256, (100, 1024, 1024), dtype=np.uint8)
    html, _, _ = written(
        dataclasses.replace(scores, thumbnails=Thumbnails(film=scores.thumbnails.film, pixels=pixels)), tmp_path
    )
    assert len(html) < 10_000_000


def test_the_same_scores_give_the_same_page(report: tuple[str, Page, dict[str, Any]], tmp_path: Path) -> None:
    assert written(made_scores(), tmp_path)[0] == report[0]


def test_the_result_is_json(report: tuple[str, Page, dict[str, Any]]) -> None:
    told = json.loads(json.dumps(report[2], allow_nan=False))
    assert told["output"].endswith("out.html")
    assert (told["held_out"], told["excluded_training_films"], told["figures"]) == (137, 58, [])


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_figures_are_saved_beside_the_page(kind: Any, start: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "figures"
    scores = made_scores()
    three = Thumbnails(film=scores.thumbnails.film[40:43], pixels=scores.thumbnails.pixels[40:43])
    _, page, told = written(dataclasses.replace(scores, thumbnails=three), tmp_path, figures=folder, figure_format=kind)
    panels = [f"heatmap-{place:02d}.png" for place in range(1, 10)]
    assert len(page.all("article")) == 9
    names = [name.removesuffix(".svg") for one in page.all("a") if (name := one.get("download") or "").endswith(".svg")]
    assert names == [
        *("auc-by-finding", "roc", "precision-recall", "probability-prevalence", "calibration"),
        *("distributions", "loss", "monitor"),
    ]
    plots = [f"{name}.{kind}" for name in names if name != "monitor"]  # the file of the loss has both
    wanted = [*plots, *panels, "metrics.csv"]
    assert told["figures"] == [str(folder / name) for name in wanted]
    assert sorted(path.name for path in folder.iterdir()) == sorted(wanted)
    for name in plots:
        assert (folder / name).read_bytes().startswith(start)


def test_an_unknown_figure_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected png or svg"):
        write_report(made_scores(), tmp_path / "out.html", figure_format="gif", source="x")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="figures"):
        write_report(made_scores(), tmp_path / "out.html", figures=tmp_path / "file" / "figures", source="x")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("ward 1/film.png", "ward 1/film.png"),
        ("Ärztin 胸.png", "Ärztin 胸.png"),
        ("a\u202eb", "a[U+202E]b"),
        ("a\x00\x1b\n\tb", "a[U+0000][U+001B][U+000A][U+0009]b"),
        ("zero\u200bwidth\u00a0space", "zero[U+200B]width[U+00A0]space"),
        ("\udcff undecodable", "[U+DCFF] undecodable"),
        ("", ""),
    ],
)
def test_visible(given: str, shown: str) -> None:
    assert escape_control_characters(given) == shown


def test_the_page_says_what_probabilities_are_and_shows_multiples_of_the_prevalence(tmp_path: Path) -> None:
    scores = made_scores()
    _, page, _ = written(scores, tmp_path)
    assert page.text.count("Probabilities are of unknown calibration.") == 3
    assert "Use them to rank films, not as the chance of a finding." in page.text
    assert "× the prevalence" not in page.text.replace("3.2 × means", "")
    scores = made_scores()
    document = scores.provenance["models"][0]["document"]
    document["spec"]["findings"] = list(scores.findings)
    document["calibration"] = {
        "method": "platt",
        "slope": [1.0] * 14,
        "intercept": [0.0] * 14,
        "fitted_on": "folds",
        "prevalence": [0.04] * 14,
    }
    scores.provenance["target_prevalence"] = {"Mass": 0.02}
    _, page, _ = written(scores, tmp_path, overwrite=True)
    # In the sections on calibration and provenance.
    assert page.text.count("on out-of-fold predictions of the training films, for the prevalence in these films") == 2
    assert page.text.count("They were moved to a target prevalence (--target-prevalence): Mass 0.02.") == 2
    assert "Use them to rank films" not in page.text
    assert "× the prevalence" in page.text
    assert "They were moved to the target prevalence as the probabilities were" in page.text


def test_notes_on_films_are_a_table_with_what_to_do(report: tuple[str, Page, dict[str, Any]], tmp_path: Path) -> None:
    assert 'id="notes"' not in report[0]
    scores = made_scores()
    message = list(scores.films.message)
    row = int(np.flatnonzero(scores.films.status == Status.OK)[0])
    message[row] = f"rescaled, {EVIL}, transparency ignored"
    noted = dataclasses.replace(scores, films=dataclasses.replace(scores.films, message=tuple(message)))
    write_report(noted, tmp_path / "page.html", source="s")
    html = (tmp_path / "page.html").read_text("utf-8")
    section = html[html.index('<div class="body" id="notes">') :]
    assert "1 of 195 scored films have a note" in section
    assert "All pixels are scored, hidden ones too." in section
    assert "rescaled (1)" in html
    assert EVIL not in html


def section(html: str, name: str) -> str:
    found = re.search(rf'<section aria-labelledby="{name}-title">.*?</section>', html, re.DOTALL)
    assert found
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[0]))


def test_heat_maps_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(page_module, "HEATMAP_BYTES", 100_000)
    html, page, _ = written(made_scores(), tmp_path)
    shown = len(page.all("article"))
    assert 0 < shown < 6
    assert f"{shown} of 38 films are shown" in section(html, "heat-maps")


def test_films_of_a_kind_without_a_map_are_named_and_what_to_do(tmp_path: Path) -> None:
    text = section(written(ruled(mapped=[0, 2]), tmp_path)[0], "heat-maps")
    assert "No false negative has a map and a thumbnail in the scores file: Mass." in text
    assert "Score with --heatmaps 2 to store the maps of all findings" in text
    assert "Edema: the probability is the same for every film, so no film is chosen." in text
    assert "True positive 0.png" in text
    assert "The first of 2 true positives by the rule." in text
    text = section(written(ruled(mapped=[7]), tmp_path)[0], "heat-maps")
    assert "No heat map can be shown:" in text


def test_the_words_of_a_panel(tmp_path: Path) -> None:
    maps = np.ones((8, 2, 2)) * np.array([0.03, 1, 0.5, 1, 1, 1, 1, 1])[:, None, None]
    scores = ruled(maps=maps, split=np.ones(8, np.uint8), view=("<b>PA", *[""] * 7))
    text = section(written(scores, tmp_path)[0], "heat-maps")
    assert "Very weak: 3 % of the strongest map of this finding." in text
    assert "Largest value: 50 % of the strongest map of this finding." in text
    assert text.count("Seen by the model in training.") == 3
    assert "0.png , view &lt;b&gt;PA" in text
    assert (
        "Labelled positive. Probability 0.900 at a prevalence of 0.571 ; at or above the threshold of 0.500 ." in text
    )
    assert "The prevalence is that among the evaluated films: the model records none." in text
