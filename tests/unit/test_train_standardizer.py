import numpy as np
import pytest

from cxrscore.training.standardizer import Standardizer


def test_by_hand() -> None:
    found = Standardizer.fit([np.array([[0, 10], [2, 30]], np.float32), np.array([[4, 20]], np.float32)])
    np.testing.assert_allclose(found.mean, [2, 20])
    np.testing.assert_allclose(found.deviation, [np.sqrt(8 / 3), np.sqrt(200 / 3)])
    np.testing.assert_allclose(
        found.transform(np.array([[2, 20], [4, 10]], np.float32)), [[0, 0], [1.5**0.5, -(1.5**0.5)]]
    )


def test_the_parts_make_no_difference() -> None:
    films = np.random.default_rng(0).normal(3, [1, 100, 0.5], (37, 3)).astype(np.float32)
    found = Standardizer.fit([films[:5], films[5:6], films[6:]])
    np.testing.assert_allclose(found.mean, films.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(found.deviation, films.std(axis=0, dtype=np.float64))


@pytest.mark.parametrize("constant", [0.0, 7.0])
def test_what_does_not_vary_is_not_blown_up(constant: float) -> None:
    films = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    films[:, 2] = constant
    found = Standardizer.fit([films])
    assert found.deviation[2] == pytest.approx(0.01 * films.std(axis=0).mean(), rel=1e-5)
    assert (Standardizer.fit([np.full((3, 2), constant, np.float32)]).deviation == 1).all()


def test_the_folded_layer_gives_the_same_logits() -> None:
    rng = np.random.default_rng(1)
    films = rng.normal(5, [0.1, 10, 1], (50, 3)).astype(np.float32)
    head = {"head/kernel": rng.normal(size=(3, 2)), "head/bias": rng.normal(size=2), "conv/kernel": np.ones(2)}
    found = Standardizer.fit([films])
    folded = found.fold_into_head(head)
    wanted = found.transform(films) @ head["head/kernel"] + head["head/bias"]
    np.testing.assert_allclose(films @ folded["head/kernel"] + folded["head/bias"], wanted, atol=2e-4)
    assert {name: value.dtype for name, value in folded.items() if name != "conv/kernel"} == {
        "head/kernel": np.float32,
        "head/bias": np.float32,
    }
    assert folded["conv/kernel"] is head["conv/kernel"]
