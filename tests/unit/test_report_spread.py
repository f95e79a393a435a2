"""The spread of the macro AUC over files: folds, repeated splits, several models on the same films."""

import dataclasses
import statistics

import numpy as np
import pytest
from report_scores import FINDINGS, made_scores
from sklearn.metrics import roc_auc_score
from test_report_compare import changed, named, shuffled, with_films

from cxrscore.errors import InputError
from cxrscore.reporting.compare import compare
from cxrscore.reporting.load_scores import NamedScores
from cxrscore.reporting.spread import macro_spread
from cxrscore.scorefile.data import SPLITS, Scores

TRAIN, TEST = SPLITS.index("train"), SPLITS.index("test")


def splits(*held_out: slice) -> list[NamedScores]:
    """One kind of model, trained on all films but those of its split."""
    files = []
    for number, rows in enumerate(held_out):
        split = np.full(200, TRAIN, np.uint8)
        split[rows] = TEST
        files.append(named(with_films(changed(made_scores(), 1.0, seed=number), split=split), f"{number}.h5"))
    return files


FOLDS = (slice(0, 66), slice(66, 132), slice(132, 200))


def expected(scores: Scores, rows: np.ndarray, findings: tuple[str, ...]) -> float:
    """The macro AUC of these films by scikit-learn."""
    found = []
    for finding in findings:
        column = scores.findings.index(finding)
        truth = scores.truth[rows, column]
        known = np.isfinite(truth)
        found.append(roc_auc_score(truth[known], scores.logit[rows, column][known]))
    return statistics.fmean(found)


def test_folds_have_a_spread_and_no_paired_difference() -> None:
    files = splits(*FOLDS)
    found = compare(files)
    assert found is not None
    spread = found.spread
    assert spread is not None
    assert (found.others, found.films, found.seen, found.tests) == ((), 0, False, 0)
    assert (spread.same_films, spread.in_all, spread.in_one, spread.films) == (False, 0, 195, 195)
    assert [one.films for one in spread.files] == [64, 65, 66]  # five of the 200 films failed
    assert [one.basis for one in spread.files] == ["held-out"] * 3
    macros = []
    for one, rows in zip(files, FOLDS, strict=True):
        scored = np.array([row for row in range(200)[rows] if one.scores.films.status[row] == 1])
        macros.append(expected(one.scores, scored, spread.findings))
    assert spread.values == pytest.approx(macros, abs=1e-12)
    assert spread.mean == pytest.approx(statistics.fmean(macros))
    assert spread.deviation == pytest.approx(statistics.stdev(macros))
    told = found.as_dict()["spread"]
    assert (told["lowest"], told["highest"]) == pytest.approx((min(macros), max(macros)))
    assert told["standard_deviation"] == pytest.approx(statistics.stdev(macros))
    assert "Hernia" not in spread.findings  # never positive


def test_folds_that_were_scored_apart_need_no_common_film() -> None:
    """As when each model scored only the films of its fold."""
    files = []
    for number in range(3):
        scores = made_scores(seed=number)
        hashes = tuple(f"{number}{digest[1:]}" for digest in scores.films.sha256)
        files.append(named(with_films(scores, sha256=hashes), f"{number}.h5"))
    found = compare(files)
    assert found is not None
    assert found.spread is not None
    assert (found.others, found.left_out) == ((), 600)
    assert (found.spread.in_all, found.spread.in_one) == (0, 3 * 137)
    with pytest.raises(InputError, match="no film was scored in all"):  # two files have no spread
        compare(files[:2])


def test_splits_that_overlap_have_both() -> None:
    found = compare(splits(slice(0, 120), slice(40, 160), slice(80, 200)))
    assert found is not None
    assert found.spread is not None
    scored = [row for row in range(200) if row not in (11, 47, 90, 133, 178)]
    assert found.spread.in_all == sum(80 <= row < 120 for row in scored) == found.films
    assert found.spread.in_one == sum(row < 40 or row >= 160 for row in scored)
    assert len(found.others) == 2


def test_models_of_the_same_films() -> None:
    first = made_scores()
    found = compare([named(first), named(shuffled(changed(first, 1.0))), named(changed(first, 1.0, seed=2))])
    assert found is not None
    assert found.spread is not None
    assert (found.spread.same_films, found.spread.films, found.spread.in_one) == (True, 137, 0)
    assert (len(found.others), found.films) == (2, 137)
    assert found.spread.networks == ("densenet121",)


def test_by_hand() -> None:
    """AUCs of 1, 0.5 and 0: mean 0.5, standard deviation 0.5."""
    truth = np.full((200, 14), np.nan, np.float32)
    truth[100:104, 4] = [1, 0, 1, 0]
    files = []
    for place, logits in enumerate(([4, 1, 3, 2], [4, 4, 1, 1], [1, 3, 2, 4])):
        logit = np.zeros((200, 14), np.float32)
        logit[100:104, 4] = logits
        scores = dataclasses.replace(made_scores(), truth=truth, logit=logit, prob=1 / (1 + np.exp(-logit)))
        files.append(named(scores, f"{place}.h5"))
    found = macro_spread(files, FINDINGS)
    assert found is not None
    assert found.findings == ("Mass",)
    assert found.values == (1.0, 0.5, 0.0)
    assert (found.mean, found.deviation) == (0.5, 0.5)


def test_what_has_no_spread() -> None:
    assert macro_spread([named(made_scores())] * 2, FINDINGS) is None
    assert macro_spread([named(made_scores())] * 3, ("Hernia",)) is None
    nothing = named(made_scores(labels=False))
    assert macro_spread([named(made_scores()), named(made_scores()), nothing], FINDINGS) is None


def test_files_without_hashes_are_joined_by_path() -> None:
    nameless = ("",) * 200
    first = with_films(made_scores(), sha256=nameless)
    elsewhere = with_films(first, path=tuple(f"/data/{path}" for path in first.films.path))
    other = with_films(first, path=tuple(f"x{row}.png" for row in range(200)))
    found = macro_spread([named(first), named(elsewhere), named(other)], FINDINGS)
    assert found is not None
    assert (found.in_all, found.in_one, found.films) == (0, 137, 274)


def test_networks_are_told_apart() -> None:
    document = {"spec": {"architecture": "resnet50"}}
    other = dataclasses.replace(made_scores(), provenance={"models": [{"document": document}] * 2})
    unknown = dataclasses.replace(made_scores(), provenance={})
    found = macro_spread([named(made_scores()), named(other), named(unknown)], FINDINGS)
    assert found is not None
    assert found.networks == ("densenet121", "resnet50+resnet50")


def test_films_that_all_models_saw_keep_their_paired_difference() -> None:
    """Not held-out in any file: the difference is given with a warning, as for two files."""
    found = compare([named(made_scores(split="train"), f"{place}.h5") for place in range(3)])
    assert found is not None
    assert (found.seen, found.films, len(found.others)) == (True, 195, 2)
