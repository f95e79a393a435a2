"""The numbers of `cxrscore paper`: readings of equation 7, log-odds, parts, comparisons, and what is said of them."""

import re
import string
import tomllib
from importlib import resources

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import FINDINGS
from cxrscore.metrics import Estimate
from cxrscore.models.probabilities import probabilities
from cxrscore.paper import PaperOptions, measurements, reported
from cxrscore.paper.claims import Claim
from cxrscore.paper.data_split import draw_split
from cxrscore.paper.experiments import CORRECTED, IMAGENET, LITERAL, all_experiments, train_options
from cxrscore.paper.figures import auc_text, table_csv
from cxrscore.paper.heatmaps import check_rule
from cxrscore.paper.reported import contradictions
from cxrscore.paper.scoring import log_odds
from cxrscore.recipes import find_recipe, read_recipe

NAN = np.nan


def estimate(value: float, error: float) -> Estimate:
    return Estimate(value=value, influence=np.array([error]), least=-1.0)


def test_the_first_loss_at_nihs_prevalences_tells_the_readings_apart() -> None:
    found = measurements.readings(measurements._nih_labels())
    # Sums over the 14 shares f: 2 f (1-f) log 2; (f^2 + (1-f)^2) log 2; a 14th of the first; f (1-f) (log 14 -
    # log(13/14)); (f^2 + (1-f)^2) log 14.
    share = np.array(list(reported.NIH_POSITIVES.values())) / reported.NIH_FILMS
    product, squares = (share * (1 - share)).sum(), (share**2 + (1 - share) ** 2).sum()
    wanted = {
        "crossed": 2 * product * np.log(2),
        "literal": squares * np.log(2),
        "mean": 2 * product * np.log(2) / 14,
        "softmax": product * (np.log(14) - np.log(13 / 14)),
        "printed": squares * np.log(14),
    }
    assert found == pytest.approx(wanted, rel=1e-3)
    assert {name: round(value, 2) for name, value in wanted.items()} == {
        "crossed": 0.91,
        "literal": 8.80,
        "mean": 0.06,
        "softmax": 1.78,
        "printed": 33.49,
    }


def test_always_saying_no_at_nihs_prevalences() -> None:
    assert tuple(reported.NIH_POSITIVES) == FINDINGS
    assert 1 - sum(reported.NIH_POSITIVES.values()) / 14 / reported.NIH_FILMS == pytest.approx(0.948, abs=5e-4)


def test_hanley_and_mcneil_by_hand() -> None:
    # At 0.5: q1 = 1/3, q2 = 1/3, so (1/4 + (n+ - 1)/12 + (n- - 1)/12) / (n+ n-). One of each: 1/4, error 1/2.
    assert measurements.hanley_mcneil(1, 1) == pytest.approx(0.5)
    assert measurements.hanley_mcneil(2, 38) == pytest.approx(0.21, abs=0.005)
    assert measurements.hanley_mcneil(5, 95) == pytest.approx(0.13, abs=0.005)


def test_log_odds_by_hand_and_against_the_probabilities() -> None:
    # Softmax of log 1, log 2, log 5: 1/8, 2/8, 5/8; log(p / (1 - p)) is log(1/7), log(1/3), log(5/3).
    assert np.exp(log_odds(np.log([[1.0, 2.0, 5.0]]), "softmax"))[0] == pytest.approx([1 / 7, 1 / 3, 5 / 3])
    logits = np.random.default_rng(0).normal(0, 3, (20, 5)).astype(np.float32)
    for activation in ("sigmoid", "softmax"):
        found = 1 / (1 + np.exp(-log_odds(logits, activation)))
        np.testing.assert_allclose(found, probabilities(logits, activation), atol=1e-6)
    far = np.array([[40.0, 41.0, -200.0]], np.float32)  # p rounds to 1 in float32; the order is kept
    assert np.isfinite(log_odds(far, "softmax")).all()


def some(films: int, patients: int) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(1)
    owners = [f"p{patient}" for patient in rng.permutation(np.arange(films) % patients)]
    return owners, (rng.random((films, 4)) < 0.2).astype(np.float32)


def test_parts_have_the_numbers_asked_for_and_no_patient_twice() -> None:
    owners, labels = some(200, 200)
    split = draw_split(owners, labels, (90, 20, 40), seed=3)
    assert [len(rows) for _, rows in split.parts()] == [90, 20, 40]
    assert len({*split.train, *split.valid, *split.test}) == 150
    assert draw_split(owners, labels, (90, 20, 40), seed=3) == split
    assert draw_split(owners, labels, (90, 20, 40), seed=4) != split
    owners, labels = some(200, 60)
    split = draw_split(owners, labels, (90, 20, 40), seed=3)
    groups = [{owners[row] for row in rows} for _, rows in split.parts()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_training_is_what_lacks_films() -> None:
    owners, labels = some(100, 100)
    split = draw_split(owners, labels, (402, 20, 30), seed=0)
    assert [len(rows) for _, rows in split.parts()] == [50, 20, 30]
    with pytest.raises(InputError, match="100 labelled films are too few for 80 to test and 20 to validate"):
        draw_split(owners, labels, (402, 20, 80), seed=0)
    with pytest.raises(InputError, match="too few"):
        draw_split(["one"] * 100, labels, (402, 20, 30), seed=0)


def test_cells_follow_their_recipes(tmp_path) -> None:
    options = PaperOptions(films=tmp_path, augmentations=4, epochs=7)
    experiments = all_experiments(options)
    assert len({experiment.name for experiment in experiments}) == len(experiments) == 12
    told = {experiment.name: train_options(experiment, options, tmp_path / "split.csv") for experiment in experiments}
    plain, augmented = told["paper-densenet121-plain"], told["paper-densenet121-augmented"]
    assert (plain.augmentations, augmented.augmentations, plain.epochs) == (0, 4, 7)
    assert (plain.activation, plain.loss, plain.normalize) == ("sigmoid", "weighted-bce", "unit")
    literal = told["paper-literal-resnet50-augmented"]
    assert (literal.activation, literal.loss, literal.drop_last) == ("softmax", "paper-equation-7", True)
    assert told["paper-imagenet-resnet50-plain"].normalize is None
    for one in told.values():
        assert (one.monitor, one.patience, one.checkpoint_policy) == ("train_label_accuracy", 10, "last")
        assert (one.batch_size, one.learning_rate, one.trainable, one.flip) == (16, 0.001, "head", False)
    assert {experiment.series for experiment in experiments} == {CORRECTED, LITERAL, IMAGENET}


def test_the_recipes_are_at_the_papers_scale() -> None:
    for name in (CORRECTED, LITERAL):
        recipe = read_recipe(find_recipe(name))
        assert (recipe["size"], recipe["epochs"], recipe["batch_size"], recipe["patience"]) == (400, 80, 16, 10)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0.10, 0.03, "one is better than other"),
        (-0.10, 0.03, "one is worse than other"),
        (0.10, 0.06, "no difference shown between one and other"),
    ],
)
def test_better_is_said_only_where_the_interval_leaves_out_0(value: float, error: float, words: str) -> None:
    claim = Claim(group="", says="", one="one", other="other", figure="macro AUC", found=estimate(value, error))
    assert claim.words == words


def test_every_contradiction_is_told_and_every_number_in_it_is_measured() -> None:
    text = (resources.files("cxrscore.paper") / "contradictions.toml").read_text()
    rows = tomllib.loads(text)["row"]
    parsed = [string.Formatter().parse(words) for row in rows for words in row.values()]
    names = {name for pieces in parsed for _, name, _, _ in pieces if name}
    found = contradictions({name: f"<{name}>" for name in names})
    assert [row.number for row in found] == list(range(1, 31))
    assert all(row.statement and row.problem and row.resolution for row in found)
    assert sum(bool(row.measurement) for row in found) >= 18
    words = " ".join(f"{row.statement} {row.problem} {row.resolution} {row.measurement}" for row in found)
    assert all(f"<{name}>" in words for name in names)
    assert not re.search(r"[{}]", words)


def test_rules_of_the_maps() -> None:
    assert check_rule("top_auc", FINDINGS) == check_rule("top_prob", FINDINGS) == ()
    assert check_rule("nodule, Pleural Effusion", FINDINGS) == ("Nodule", "Effusion")
    with pytest.raises(InputError, match=r"--heatmaps names 'Gout', expected top_auc or top_prob or findings of: Ate"):
        check_rule("Gout", FINDINGS)


def test_what_the_paper_says_of_an_area() -> None:
    assert reported.reported_auc((True, False), "Cardiomegaly") == "0.51"
    assert reported.reported_auc((True, False), "Pneumonia") == "below 0.5"
    assert reported.reported_auc((True, True), "Hernia") == "above 0.5"
    assert reported.reported_auc((False, False), "Hernia") == "not run"


def test_words_and_cells_of_what_is_undefined() -> None:
    assert auc_text(estimate(0.7, 0.05)) == "0.700 (0.60–0.80)"
    assert auc_text(Estimate(value=0.7, influence=np.zeros(1), why="one positive film only")) == "0.700"
    assert auc_text(Estimate(value=NAN, influence=np.zeros(1), why="no film")) == "undefined"
    assert table_csv(["a", "b", "c"], [[1, NAN, None]]) == b"a,b,c\n1,,\n"


def test_a_finding_whose_name_is_a_formula_is_none_in_a_table() -> None:
    assert table_csv(["finding", "auc"], [["=1+1", -0.5]]) == b"finding,auc\n'=1+1,-0.5\n"


@pytest.mark.parametrize("changed", [{"train": 0}, {"augmentations": 0}, {"networks": ("resnet50", "resnet50")}])
def test_options_that_make_no_experiment(changed, tmp_path) -> None:
    with pytest.raises(InputError, match="expected"):
        PaperOptions(films=tmp_path, **changed)
