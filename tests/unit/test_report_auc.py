"""By which method intervals are found, and that drawing agrees with the formula on real scores."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrscore.metrics import bootstrap_auc, delong
from cxrscore.reporting import auc as room
from cxrscore.reporting.auc import BootstrapConfig, compute_aucs, has_repeated_patients, patient_groups
from cxrscore.reporting.load_scores import read_score_table, with_labels


def made(films: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = (random.random((films, 2)) < 0.3).astype(np.float32)
    return truth, (random.normal(size=(films, 2)) + truth).astype(np.float32)


def test_unknown_patients_are_their_own() -> None:
    groups = patient_groups(np.array([3, -1, 3, -1, 0]))
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 4
    assert has_repeated_patients(groups)
    assert not has_repeated_patients(patient_groups(np.array([-1, -1, 2])))


def test_one_film_a_patient_is_delong() -> None:
    truth, prob = made()
    found = compute_aucs(truth, prob, np.arange(120), BootstrapConfig())
    assert found.method == "DeLong"
    assert found.intervals[1] == pytest.approx(delong(truth[:, 1], prob[:, 1]).interval)
    assert found.values.tolist() == pytest.approx([roc_auc_score(truth[:, c], prob[:, c]) for c in (0, 1)])
    assert found.macro.value == pytest.approx(found.values.mean())


def test_patients_that_repeat_are_drawn() -> None:
    truth, prob = made()
    groups = np.arange(120) // 2
    found = compute_aucs(truth, prob, groups, BootstrapConfig(resamples=50, seed=3))
    assert found.method == "bootstrap of the 60 patients, 50 resamples, seed 3"
    assert found.intervals[0] == bootstrap_auc(truth, prob, groups, resamples=50, seed=3).interval(0)


def test_too_many_films_or_no_draws_go_by_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prob = made()
    groups = np.arange(120) // 2
    by_formula = compute_aucs(truth, prob, groups, BootstrapConfig(resamples=0))
    assert by_formula.method.startswith("DeLong's variances over the 60 patients")
    monkeypatch.setattr(room, "MAX_BOOTSTRAP_FILMS", 100)
    assert compute_aucs(truth, prob, groups, BootstrapConfig()).method == by_formula.method


def test_nothing_known_has_no_interval() -> None:
    truth, prob = made()
    truth[:] = np.nan
    found = compute_aucs(truth, prob, np.arange(120) // 2, BootstrapConfig(resamples=5))
    assert math.isnan(found.macro.value)
    assert math.isnan(found.macro_interval[0])
    assert math.isnan(found.micro.value)


def test_no_interval_comes_with_the_reason() -> None:
    truth, prob = made()
    truth[:, 0] = np.arange(120) < 12  # films of one patient
    truth[:, 1] = np.arange(120) % 60 == 0  # two patients, of whom draws often have none
    groups = np.maximum(np.arange(120) - 11, 0)
    for resamples in (0, 200):
        found = compute_aucs(truth, prob, groups, BootstrapConfig(resamples=resamples))
        assert (found.estimates[0].why, math.isnan(found.intervals[0][0])) == (
            "positive films of one patient only",
            True,
        )
    assert found.estimates[1].why == "a class is missing in more than a tenth of the resamples"
    assert math.isnan(found.intervals[1][0])
    apart = compute_aucs(truth[:, 1:], 10 * truth[:, 1:], groups, BootstrapConfig(resamples=20))
    assert "no variance" in apart.estimates[0].why
    assert all(map(math.isnan, (*apart.intervals[0], *apart.macro_interval)))


@pytest.mark.shared
def test_delong_and_bootstrap_agree_on_the_peers_scores(shared) -> None:
    folder = shared / "data" / "nih442"
    scores = with_labels(read_score_table(folder / "peer_preds.csv"), folder / "labels.csv", "peer_preds.csv")[0]
    found = compute_aucs(scores.truth, scores.prob, np.arange(442), BootstrapConfig())
    drawn = bootstrap_auc(scores.truth, scores.prob, np.arange(442), resamples=1000)
    for column, one in enumerate(found.estimates):
        assert drawn.values[:, column].std() == pytest.approx(one.error, rel=0.12)
        # The bootstrap is narrower where few films are positive, mostly below.
        assert drawn.interval(column) == pytest.approx(one.interval, abs=0.04)
    assert drawn.macro_interval() == pytest.approx(found.macro_interval, abs=0.006)
