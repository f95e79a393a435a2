"""Two files on the same films."""

import dataclasses
import math

import numpy as np
import pytest
from report_scores import FINDINGS, made_scores
from scipy.stats import norm

from cxrscore.errors import InputError
from cxrscore.metrics import delong, difference
from cxrscore.reporting.compare import common_films, compare
from cxrscore.reporting.load_scores import NamedScores
from cxrscore.scorefile.data import Scores


def named(scores: Scores, name: str = "a.h5") -> NamedScores:
    return NamedScores(name=name, scores=scores)


def changed(scores: Scores, noise: float, seed: int = 1) -> Scores:
    """The same films, scored by another model."""
    logit = scores.logit + np.random.default_rng(seed).normal(0, noise, scores.logit.shape).astype(np.float32)
    return dataclasses.replace(scores, logit=logit, prob=1 / (1 + np.exp(-logit)))


def shuffled(scores: Scores, seed: int = 0) -> Scores:
    order = np.random.default_rng(seed).permutation(len(scores.films.path))
    films = {}
    for field in dataclasses.fields(scores.films):
        values = getattr(scores.films, field.name)
        films[field.name] = tuple(values[row] for row in order) if isinstance(values, tuple) else values[order]
    return dataclasses.replace(
        scores,
        films=dataclasses.replace(scores.films, **films),
        prob=scores.prob[order],
        logit=scores.logit[order],
        truth=scores.truth[order],
    )


def test_one_file_has_nothing_to_compare_with() -> None:
    assert compare([named(made_scores())]) is None


def test_the_test_is_delongs_on_the_films_that_both_have() -> None:
    first = made_scores()
    other = shuffled(changed(first, 2.0))
    found = compare([named(first), named(other, "b.h5")])
    assert found is not None
    assert (found.joined, found.films, found.seen) == ("hash", 137, False)
    rows = [row for row in range(60, 200) if first.films.status[row] == 1]
    again = changed(first, 2.0)
    raw = []
    for column, one in enumerate(found.others[0].findings[:13]):
        truth = first.truth[rows, column]
        wanted = difference(delong(truth, again.prob[rows, column]), delong(truth, first.prob[rows, column]))
        assert one.found.value == pytest.approx(wanted.value, abs=1e-12)
        assert one.found.error == pytest.approx(wanted.error, abs=1e-12, nan_ok=True)
        raw.append(2 * norm.sf(abs(wanted.value) / wanted.error))
    assert found.tests == 12  # one finding has a single positive film, one has none
    smallest = int(np.nanargmin(raw))
    assert found.others[0].findings[smallest].p == pytest.approx(min(1, 12 * raw[smallest]))
    assert found.others[0].findings[13].found.why == "0 positive and 137 negative films"


def test_the_word_worse_needs_the_correction() -> None:
    first = made_scores(1200)
    found = compare([named(first), named(changed(first, 3.0), "b.h5")])
    assert found is not None
    verdicts = [one.verdict for one in found.others[0].findings]
    assert verdicts.count("worse") >= 8
    assert found.others[0].macro.verdict == "worse"
    for one in found.others[0].findings:
        assert (one.verdict == "worse") == (one.p < 0.05)
    turned = compare([named(changed(first, 3.0)), named(first, "b.h5")])
    assert turned is not None
    assert turned.others[0].macro.verdict == "better"


def test_a_file_does_not_differ_from_itself() -> None:
    found = compare([named(made_scores()), named(shuffled(made_scores()), "b.h5")])
    assert found is not None
    assert {one.verdict for one in found.others[0].findings} == {"no difference shown"}
    assert found.others[0].macro.p == 1
    assert found.as_dict()["others"][0]["findings"][13]["difference"] is None


def test_three_files_are_corrected_together() -> None:
    first = made_scores()
    found = compare([named(first), named(changed(first, 1.0), "b.h5"), named(changed(first, 1.0, seed=2), "c.h5")])
    assert found is not None
    assert [other.name for other in found.others] == ["b.h5", "c.h5"]
    assert found.tests == 24


def test_films_of_one_file_only_are_left_out_and_files_without_hashes_go_by_path() -> None:
    first, other = made_scores(), made_scores()
    bare = dataclasses.replace(other, films=dataclasses.replace(other.films, sha256=("",) * 200))
    rows, joined = common_films([named(first), named(bare)])
    assert (joined, rows.shape) == ("path", (2, 195))
    assert (rows[0] == rows[1]).all()
    few = tuple(digest if row < 100 else f"x{row}" for row, digest in enumerate(other.films.sha256))
    rows, joined = common_films(
        [named(first), named(dataclasses.replace(other, films=dataclasses.replace(other.films, sha256=few)))]
    )
    assert (joined, rows.shape) == ("hash", (2, 97))  # of the first 100 films three failed


def test_no_film_in_common() -> None:
    other = made_scores()
    strange = dataclasses.replace(other.films, sha256=tuple(f"x{row}" for row in range(200)))
    with pytest.raises(InputError, match=r"no film was scored in all of a.h5, b.h5"):
        compare([named(made_scores()), named(dataclasses.replace(other, films=strange), "b.h5")])


def test_findings_are_matched_by_name() -> None:
    other = dataclasses.replace(made_scores(), findings=(*FINDINGS[1:], "Rib"))
    found = compare([named(dataclasses.replace(made_scores(), truth=np.full((200, 14), np.nan))), named(other, "b.h5")])
    assert found is not None
    assert [one.finding for one in found.others[0].findings] == list(FINDINGS[1:])
    assert not math.isnan(found.others[0].findings[0].first)  # labels that only the other file knows
    none = dataclasses.replace(made_scores(), findings=tuple(f"x{k}" for k in range(14)))
    with pytest.raises(InputError, match="no finding in common"):
        compare([named(made_scores()), named(none, "b.h5")])


def test_labels_that_contradict_each_other() -> None:
    other = made_scores()
    other.truth[100, 0] = 1 - other.truth[100, 0]
    with pytest.raises(InputError, match="differ in 1 labels of the same films; give --labels"):
        compare([named(made_scores()), named(other, "b.h5")])


def test_films_that_all_models_saw_are_told() -> None:
    found = compare([named(made_scores(split="valid")), named(made_scores(split="train"), "b.h5")])
    assert found is not None
    assert (found.seen, found.films) == (True, 195)


def with_films(scores: Scores, **fields: object) -> Scores:
    return dataclasses.replace(scores, films=dataclasses.replace(scores.films, **fields))


def test_patients_are_those_of_the_first_file_that_knows_any() -> None:
    first, patients = made_scores(), (np.arange(200) // 4).astype(np.int32)
    bare = with_films(first, patient=np.full(200, -1, np.int32))
    known = with_films(changed(first, 2.0), patient=patients)
    found = compare([named(bare), named(known, "b.h5")])
    turned = compare([named(with_films(first, patient=patients)), named(with_films(known, patient=bare.films.patient))])
    assert found is not None
    assert turned is not None
    assert found.patients == turned.patients < 50
    assert [one.found.error for one in found.others[0].findings] == pytest.approx(
        [one.found.error for one in turned.others[0].findings], nan_ok=True
    )


def test_a_class_of_one_patient_is_no_test() -> None:
    first = made_scores()
    first.films.patient[first.truth[:, 0] == 1] = 0
    found = compare([named(first), named(changed(first, 3.0), "b.h5")])
    assert found is not None
    one = found.others[0].findings[0]
    assert one.found.why == "positive films of one patient only"
    assert math.isnan(one.p)
    assert one.verdict == "no difference shown"


def test_unseen_films_without_labels_do_not_stand_in_for_seen_ones_with() -> None:
    first = made_scores()
    first.truth[60:] = np.nan
    found = compare([named(first), named(changed(first, 1.0), "b.h5")])
    assert found is not None
    assert (found.films, found.seen, found.seen_out) == (58, True, 0)
    first.truth[150:] = 0
    found = compare([named(first), named(changed(first, 1.0), "b.h5")])
    assert found is not None
    assert (found.films, found.seen, found.seen_out) == (49, False, 58)
    first.truth[:] = np.nan
    found = compare([named(first), named(changed(first, 1.0), "b.h5")])
    assert found is not None
    assert (found.films, found.seen, found.seen_out) == (195, False, 0)


def test_films_left_out_are_all_that_any_file_has() -> None:
    first, other = made_scores(), made_scores()
    hashes = tuple(digest if row < 100 else f"x{row}" for row, digest in enumerate(other.films.sha256))
    found = compare([named(first), named(with_films(other, sha256=hashes))])
    assert found is not None
    assert found.left_out == 300 - 97  # 100 films in both, of which three failed
    nameless = ("",) * 200
    paths = tuple(path if row < 100 else f"x{row}.png" for row, path in enumerate(other.films.path))
    found = compare([named(first), *[named(with_films(other, sha256=nameless, path=paths))] * 2])
    assert found is not None
    assert (found.joined, found.left_out) == ("path", 300 - 97)


def test_files_that_do_not_tell_what_was_trained_on_are_named() -> None:
    other = dataclasses.replace(made_scores(), provenance={})
    found = compare([named(made_scores()), named(other, "b.h5")])
    assert found is not None
    assert found.untold == ("b.h5",)
    assert found.as_dict()["unknown_training_films"] == ["b.h5"]
