"""Whatever a run holds comes back out of its shards, and out of its file, as it was."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_run import merge

from cxrscore.scorefile import HeatMaps, Shard, Thumbnails, open_run, open_scores
from cxrscore.scorefile.columns import decode_texts, encode_texts
from cxrscore.scorefile.manifest import canonical_json, differences

# Zero bytes at the end of a text are the one thing that fixed-length texts cannot keep.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAMES = st.lists(TEXTS.filter(bool), min_size=1, max_size=4, unique=True)
FLOATS = st.floats(width=32)
UNIT = st.one_of(st.floats(0, 1, width=32), st.just(float("nan")))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)


@st.composite
def shards(draw: st.DrawFn, films: int, findings: int) -> Shard:
    maps = draw(st.integers(0, 5))
    numbers = arrays(np.uint32, films)
    return Shard(
        logit=draw(arrays(np.float32, (films, findings), elements=FLOATS)),
        prob=draw(arrays(np.float32, (films, findings), elements=UNIT)),
        prob_uncalibrated=draw(arrays(np.float32, (films, findings), elements=UNIT)),
        status=draw(arrays(np.uint8, films, elements=st.integers(0, 13))),
        message=draw(st.lists(TEXTS, min_size=films, max_size=films)),
        kind=draw(st.lists(TEXTS, min_size=films, max_size=films)),
        modality=draw(st.lists(TEXTS, min_size=films, max_size=films)),
        view=draw(st.lists(TEXTS, min_size=films, max_size=films)),
        sha256=draw(st.lists(st.sampled_from(["", "0f" * 32]), min_size=films, max_size=films)),
        width=draw(numbers),
        height=draw(numbers),
        heat_maps=HeatMaps(
            map=draw(arrays(np.float16, (maps, 2, 3))) if maps else np.zeros((0, 1, 1), np.float16),
            film=draw(arrays(np.int32, maps, elements=st.integers(0, films - 1))),
            finding=draw(arrays(np.int16, maps, elements=st.integers(0, findings - 1))),
        ),
    )


@settings(deadline=None, max_examples=40)
@given(st.data(), NAMES, NAMES, OBJECTS)
def test_a_run_comes_back_as_it_was(
    data: st.DataObject, paths: list[str], findings: list[str], provenance: dict[str, object]
) -> None:
    shard = data.draw(shards(len(paths), len(findings)))
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(Path(folder) / "out.h5", paths, findings, {})
        run.write(0, shard)
        back = run.read(0)
        own = {
            "truth": np.full((len(paths), len(findings)), np.nan, np.float32),
            "thresholds": data.draw(arrays(np.float32, len(findings), elements=UNIT)),
            "thumbnails": Thumbnails(film=np.zeros(0, np.int32), pixels=np.zeros((0, 4, 4), np.uint8)),
        }
        scores = open_scores(merge(run, **own, provenance=provenance))
    for got in (back, scores):
        np.testing.assert_array_equal(got.logit, shard.logit)
        np.testing.assert_array_equal(got.prob, shard.prob)
        for name in ("map", "film", "finding"):
            np.testing.assert_array_equal(getattr(got.heat_maps, name), getattr(shard.heat_maps, name))
    for got in (back, scores.films):
        np.testing.assert_array_equal(got.status, shard.status)
        np.testing.assert_array_equal(got.width, shard.width)
        assert (tuple(got.message), tuple(got.sha256)) == (tuple(shard.message), tuple(shard.sha256))
    assert (scores.films.path, scores.findings) == (tuple(paths), tuple(findings))
    assert scores.provenance == provenance
    np.testing.assert_array_equal(scores.thresholds, own["thresholds"])


@given(st.lists(st.one_of(TEXTS, st.just("raw\udcfe\udcff"))))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    assert decode_texts(encode_texts(texts)) == tuple(texts)


@given(OBJECTS, OBJECTS)
def test_what_differs_is_named(old: dict[str, object], new: dict[str, object]) -> None:
    assert differences(old, old) == []
    keys = {
        key for key in old.keys() | new.keys() if canonical_json(old.get(key, {})) != canonical_json(new.get(key, {}))
    }
    for key in keys:
        assert any(line.startswith(key) for line in differences(old, new))
