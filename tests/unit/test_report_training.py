"""The report says how its models were trained and what their own figures are, whatever stands in the scores file."""

import copy
import dataclasses
import json
import math
import re

import numpy as np
import pytest
from made_evaluation import made_evaluation, made_probe
from made_model import document, golden
from made_models import made_films
from report_scores import FINDINGS as ALL
from report_scores import made_scores
from test_models_evaluation import ODD, places

from cxrscore.contract import ModelSpec
from cxrscore.models.evaluation import LearningCurve, Probe, read_evaluation, read_probe
from cxrscore.models.model_file import save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.reporting import write_report
from cxrscore.reporting.heatmap_choice import choose_films
from cxrscore.reporting.model_evaluations import MOST_NOTES, marks, model_warnings, recorded_models
from cxrscore.reporting.tables import provenance_table
from cxrscore.reporting.training_figures import cross_validation_plot, learning_curve_plot
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films

FINDINGS = (ALL[0], ALL[1], ALL[-1])
"""Few, because the plots of a finding take time."""
FEW = FINDINGS[-1]
"""The finding that made_evaluation marks: Hernia."""
MARK = "prevalence only: 4 positive training films"


def three_findings(split="test"):
    """made_scores with FINDINGS alone, of which the last has positive films."""
    scores, columns = made_scores(split=split), [ALL.index(finding) for finding in FINDINGS]
    scores.truth[60:100, -1] = 1
    maps = scores.heat_maps
    kept = np.isin(maps.finding, columns)
    return dataclasses.replace(
        scores,
        findings=FINDINGS,
        **{name: getattr(scores, name)[:, columns] for name in ("logit", "prob", "prob_uncalibrated", "truth")},
        thresholds=scores.thresholds[columns],
        heat_maps=dataclasses.replace(
            maps,
            map=maps.map[kept],
            film=maps.film[kept],
            finding=np.searchsorted(columns, maps.finding[kept]).astype(np.int16),
        ),
    )


def probe_scores(split="test", **changed):
    """Scores of a linear probe, the last finding with one probability, no threshold and empty heat maps."""
    scores = three_findings(split)
    scored = np.isfinite(scores.prob[:, -1])
    scores.prob[scored, -1], scores.logit[scored, -1] = 0.01, -4.6
    scores.heat_maps.map[scores.heat_maps.finding == len(FINDINGS) - 1] = 0
    document = scores.provenance["models"][0]["document"]
    document["evaluation"] = made_evaluation(FINDINGS, **changed)
    document["training"] |= {"history": [], "best_epoch": 0, "monitor": "", "probe": made_probe(FINDINGS)}
    return scores


def page_of(folder, scores, **options):
    told = write_report(scores, folder / "out.html", source="out.h5", resamples=0, overwrite=True, **options)
    page = (folder / "out.html").read_text(encoding="utf-8")
    return page, re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("<body>")[2])), told


def section(page, name):
    return re.search(rf'<section aria-labelledby="{name}-title">.*?</section>', page, re.DOTALL)[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return (*page_of(folder, probe_scores(), figures=folder / "figures"), folder / "figures")


def test_the_training_section_of_a_probe(made):
    page, text, _, figures = made
    own = section(page, "training")
    assert "epoch" not in own.replace("without epochs", "")
    assert "Strength C 0.001 for all findings, chosen by 5-fold cross-validation on 40 training films" in own
    for words in ("Cross-validated log loss by strength; C 0.001", "Learning curve: macro AUC by number of"):
        assert f'alt="{words}' in own
    for words in ("Always “no”", "Prevalence", "Age and view alone", "The model, cross-validated", "This report"):
        assert f'<th scope="row">{words}</th>' in own
    assert "The model minus age and view alone: +0.040 (−0.010 to +0.090) in macro AUC, paired." in text
    assert "the power law predicts 0.690 (0.65 to 0.73) with 80 films" in text
    assert (figures / "cross-validation.png").is_file()
    assert (figures / "learning-curve.png").is_file()
    assert not (figures / "loss.png").exists()


def test_the_summary_names_the_models_own_figures(made):
    page, text, told, _ = made
    assert "Cross-validated macro AUC 0.650 (0.60 to 0.70) , by 5-fold cross-validation on 40 training films" in text
    assert "0.620 (0.50 to 0.74) on 10 test films" in text
    assert "<li>Of the model: 10 test films are few.</li>" in page
    assert "Of the model: 10 test films are few." in told["warnings"]
    assert told["models"][0]["macro_auc"] == {"value": 0.65, "low": 0.6, "high": 0.7}
    assert told["models"][0]["prevalence_only"] == {FEW: MARK}
    assert json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    "name", ["roc", "findings", "thresholds", "calibration", "distributions", "highest", "training"]
)
def test_a_finding_with_few_positives_is_marked_with_its_numbers(made, name):
    assert section(made[0], name).count(MARK) == 1


def test_test_aucs_of_findings_have_no_interval_because_their_positives_are_unknown(made):
    row = re.search(rf'<th scope="row">{FINDINGS[0]}</th>((?!</tr>).)*</tr>', section(made[0], "training"), re.DOTALL)[
        0
    ]
    assert row.endswith('<td class="n">0.620</td></tr>')


def test_a_finding_with_few_positives_has_no_highest_film(made):
    page, text, told, _ = made
    assert "the same for every film" in section(page, "highest")
    assert f"The model has the same probability for every film, because of too few training films: {FEW}." in text
    assert f"lowest for {FEW}" not in text
    assert told["findings"][-1]["auc"] == 0.5
    scores = probe_scores()
    chosen = {one.finding: one for one in choose_films(scores)}
    assert (chosen[FEW].films, chosen[FEW].constant) == ((), True)
    assert len(chosen[FINDINGS[0]].films) == 3


def test_an_empty_heat_map_is_marked(tmp_path):
    page, _, _ = page_of(tmp_path, probe_scores(), findings=[FEW])
    shown = f'the same for every film, so no film is chosen.<small class="mark">{MARK}'
    assert shown in re.sub(r"\n", "", section(page, "heat-maps"))


def test_training_films_have_in_sample_figures(tmp_path):
    page, text, told = page_of(tmp_path, probe_scores(split="train", test=None))
    seen = text.index("that the model saw in training or validation, the macro AUC")
    assert seen < text.index("Cross-validated macro AUC 0.650") < text.index("All labelled films were in training")
    assert "there are no test films, so this is the model's figure" in text
    assert "so the cross-validated figure is the model&#39;s figure" in section(page, "training")
    assert "Read the cross-validated figures of the model instead: macro AUC 0.650" in told["warnings"][0]


def test_provenance_and_checklist_leave_out_what_a_probe_does_not_use(made):
    rows = dict(dict(provenance_table(probe_scores().provenance))["Training"])
    assert rows["Fitted"].startswith("linear probe, strength C 0.001")
    assert "Recipe" not in rows  # that of made_scores has options of the epoch loop only
    assert "log loss, in which all films count alike" in section(made[0], "checklists")
    assert "weighted-bce" not in section(made[0], "checklists")


def test_every_model_of_an_ensemble_is_shown(tmp_path):
    scores = probe_scores()
    (first,) = scores.provenance["models"]
    second = copy.deepcopy(first) | {"file": "b.safetensors"}
    second["document"]["evaluation"]["findings"][FEW]["few_positives"] = False
    second["document"]["evaluation"]["warnings"] += ["of the second only"]
    old = copy.deepcopy(three_findings().provenance["models"][0])
    scores.provenance["models"] = [first, second, old]
    page, _, told = page_of(tmp_path, scores)
    assert re.findall(r"<h3><bdi>(.*?)</bdi>", section(page, "training")) == [
        "model.safetensors",
        "b.safetensors",
        "model.safetensors",
    ]
    assert "30 epochs" in section(page, "training")
    assert "Of b.safetensors: of the second only." in told["warnings"]
    models = recorded_models(scores.provenance, FINDINGS)
    assert marks(models) == {FEW: f"{MARK} (in 1 of 3 models)"}
    assert len(model_warnings(models[:2])) == 2


def test_the_figures_of_an_ensemble_file_are_those_of_its_scores(tmp_path):
    scores = probe_scores()
    (member,) = scores.provenance["models"]
    whole = {"evaluation": made_evaluation(FINDINGS, macro_auc={"value": 0.7, "low": 0.65, "high": 0.75})}
    whole["evaluation"]["findings"][FEW]["few_positives"] = False
    scores.provenance["models"] = [member, copy.deepcopy(member) | {"file": "b.safetensors"}]
    scores.provenance["ensemble"] = {"file": "both.safetensors", "document": whole}
    page, text, _ = page_of(tmp_path, scores)
    assert "both.safetensors , figures of the training run. Cross-validated macro AUC 0.700 (0.65 to 0.75)" in text
    assert text.count("figures of the training run") == 1
    names = re.findall(r"<h3><bdi>(.*?)</bdi>", section(page, "training"))
    assert names == ["both.safetensors", "model.safetensors", "b.safetensors"]
    assert MARK not in section(page, "findings")


def test_warnings_of_many_models_are_cut():
    provenance = {
        "models": [{"document": {"evaluation": {"warnings": [f"{k} {j}" for j in range(50)]}}} for k in range(100)]
    }
    notes = model_warnings(recorded_models(provenance, FINDINGS))
    assert len(notes) == MOST_NOTES + 1
    assert notes[0] == "Of Model 1: 0 0."


def test_a_model_without_evaluation_is_as_before(tmp_path):
    page, text, told = page_of(tmp_path, three_findings())
    assert "30 epochs; the best by validation macro AUC was epoch 20." in section(page, "training")
    for words in ("training run", "cross-validat", "prevalence only", "in-sample"):
        assert words not in text
    assert told["models"] == [{"model": "model.safetensors"}]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_plots_of_any_value_are_drawn(odd):
    """The figures are where a number can do harm: an axis without a limit, a logarithm of nothing."""
    whole = {"evaluation": made_evaluation(FINDINGS[:2]), "training": {"probe": made_probe(FINDINGS[:2])}}
    kept = [keys for keys in places(whole) if "learning_curve" in keys or "probe" in keys]
    assert len(kept) > 10
    seen = set()
    for keys in kept:
        document = copy.deepcopy(whole)
        above = document
        for key in keys[:-1]:
            above = above[key]
        above[keys[-1]] = odd
        probe, found = read_probe(document), read_evaluation(document, FINDINGS[:2])
        for one, plot in ((probe, cross_validation_plot), (found and found.curve, learning_curve_plot)):
            if one is not None and repr(one) not in seen and (plot is learning_curve_plot or one.tried):
                seen.add(repr(one))
                plot(one).canvas.draw()


@pytest.mark.parametrize(
    "curve",
    [
        LearningCurve(points=((1.0, 0.5, math.nan), (1.0, 0.5, math.nan)), law=None, predicted=()),
        LearningCurve(points=((1.0, 0.0, 1.0), (1e12, 1.0, 1.0)), law=(1e6, -1e6, 1e6), predicted=()),
        LearningCurve(points=((1.0, 0.0, 1.0), (2.0, 1.0, 1.0)), law=(0.7, 1.0, -1e6), predicted=()),
    ],
)
def test_the_extreme_learning_curves_are_drawn(curve):
    learning_curve_plot(curve).canvas.draw()


def test_extreme_strengths_are_drawn():
    tried = ((1e-30, 0.0), (1e-29, 1e6), (1e30, 0.5))
    cross_validation_plot(Probe(folds=math.nan, strengths=(1e-30, 1e30), tried=tried)).canvas.draw()
    cross_validation_plot(Probe(folds=5, strengths=(), tried=tried[:1])).canvas.draw()


def test_a_hostile_evaluation_neither_breaks_nor_bloats_the_page(tmp_path):
    evil = "<script>alert(1)</script>\u202e"
    many = {f"{evil} {place}": made_evaluation(FINDINGS)["findings"][FEW] for place in range(5000)}
    scores = probe_scores()
    plain = page_of(tmp_path, probe_scores())[0]
    document = scores.provenance["models"][0]["document"]
    document["evaluation"] |= {
        "on": evil,
        "films": math.nan,
        "macro_auc": {"value": math.inf, "low": evil, "high": []},
        "findings": {**document["evaluation"]["findings"], **many},
        "warnings": [evil * 1000] * 5000,
        "yardsticks": {"metadata": {"columns": [evil] * 5000}},
    }
    document["training"]["probe"] |= {"strengths": dict.fromkeys(many, 1e300), "tried": [evil] * 5000}
    page, _, told = page_of(tmp_path, scores)
    assert "<script" not in page
    assert "\u202e" not in page
    assert "nan" not in re.findall(r"[a-z]+", section(page, "training").casefold())
    assert len(page) - len(plain) < 400_000  # 200,000 characters of provenance as JSON, escaped
    assert told["models"][0]["macro_auc"] == {"value": None, "low": None, "high": None}
    assert len(told["warnings"]) < 5
    nothing = dataclasses.replace(scores, provenance={"models": [{"document": {"evaluation": {}}}]})
    assert "undefined" in page_of(tmp_path, nothing)[1]


@pytest.mark.slow
def test_from_a_model_with_few_positives_to_its_report(tmp_path):
    """Its kernel of Edema is 0: one logit for all films and empty maps; its figures come along in the scores file."""
    findings = ("Mass", "Edema")
    spec = ModelSpec(architecture="tinycnn", findings=findings, size=32)
    tensors = initial_tensors(spec, 1)
    tensors["head/kernel"][:, 1], tensors["head/bias"][1] = 0, -2
    whole = document(spec, golden=golden(spec, tensors), evaluation=made_evaluation(findings))
    whole["training"] |= {"history": [], "best_epoch": 0, "probe": made_probe(findings)}
    save_model(tmp_path / "m.safetensors", tensors, whole)
    films = made_films(tmp_path / "films")
    labels = "".join(f"{place:03}.png,{place % 2},{place // 3}\n" for place in range(6))
    (films / "labels.csv").write_text(f"film,Mass,Edema\n{labels}")
    score_films(
        ScoreOptions(
            films=films,
            output=tmp_path / "out.h5",
            model=(str(tmp_path / "m.safetensors"),),
            backend="torch",
            heatmaps=2,
        )
    )
    scores = open_scores(tmp_path / "out.h5")
    recorded = scores.provenance["models"][0]["document"]
    assert recorded["evaluation"] == whole["evaluation"]
    assert recorded["training"]["probe"] == whole["training"]["probe"]
    assert "films" not in recorded
    assert len(set(scores.prob[np.isfinite(scores.prob[:, 1]), 1])) == 1
    assert not scores.heat_maps.map[scores.heat_maps.finding == 1].any()
    page, _, told = page_of(tmp_path, scores)
    assert told["findings"][1]["auc"] == 0.5
    assert "the same for every film" in section(page, "highest")
    for name in ("roc", "findings", "calibration", "distributions", "heat-maps", "training"):
        assert MARK in section(page, name), name
