"""Broken, odd and hostile films among good ones: each gets its documented status, and no other film notices."""

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
from corpus import PAGE, corpus, film_path
from corpus_bytes import archive, chest, png
from corpus_case import Case
from made_model import document

from cxrscore.contract import ModelSpec
from cxrscore.images import Preprocessing, Status, codecs, decode_film, preprocess, stream_films
from cxrscore.images.film import MAX_BYTES
from cxrscore.io import sha256_bytes
from cxrscore.models.model_file import save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.scorefile import Scores, open_scores
from cxrscore.synthetic.reference_logits import golden_record

for _module in ("pydicom", "imagecodecs", "openvino"):
    pytest.importorskip(_module)

SIZE = 32
STRICT = importlib.util.find_spec("simplejpeg") is not None
GOOD_EVERY = 3


def wanted(case: Case) -> Status:
    return case.strict if STRICT else case.status


def assert_as_documented(case: Case, status: int, message: str, expected: Status) -> None:
    assert Status(status) == expected, f"{case.name}: {message}"
    if expected == case.status:
        assert case.words in message, case.name
    assert (expected == Status.OK and not case.words) == (message == ""), f"{case.name}: {message}"


def test_there_are_many_and_every_status_that_bytes_can_bring_about() -> None:
    assert len(corpus()) == len({case.name for case in corpus()}) >= 60
    other = {Status.NOT_WRITTEN, Status.CRASHED, Status.TIMED_OUT, Status.MODEL_FAILED}
    assert {case.status for case in corpus()} == set(Status) - other


@pytest.mark.parametrize("case", [c for c in corpus() if not c.name.endswith(".zip")], ids=lambda case: case.name)
def test_without_the_extra_strict(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_simplejpeg", lambda: None)
    film = decode_film(case.data)
    assert_as_documented(case, film.status, film.message, case.status)


# --- one run over all of them


def good_films(folder: Path) -> None:
    folder.mkdir()
    for number in range(0, len(corpus()), GOOD_EVERY):
        (folder / f"{number:03}-good.png").write_bytes(png(chest(1000 + number)))


def placed(number: int, case: Case) -> str:
    return f"{number:03}-{film_path(case)}"


def hostile_places(folder: Path) -> None:
    """What is no film whatever its name says, or cannot be read."""
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "round").symlink_to(folder)
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "cut.zip").write_bytes(archive({"a.png": png(chest())})[:-9])
    (folder / "climbs.zip").write_bytes(archive({"../../a.png": png(chest())}))
    (folder / "shut.png").write_bytes(png(chest()))
    (folder / "shut.png").chmod(0)
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def scored(folder: Path, output: str, films: str, expect: int) -> Scores:
    """By OpenVINO, whose bits of a film do not depend on the other films of its batch."""
    words = ["score", films, "-o", output, "--backend", "openvino", "--heatmaps", "1", "--json"]
    done = forked.cxrscore(*words, cwd=folder)
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    scores = open_scores(folder / output)
    failed = [one["film"] for one in json.loads(done.stdout)["failed"]]
    assert failed == [scores.films.path[row] for row in rows_not_ok(scores)]
    return scores


def rows_not_ok(scores: Scores) -> Any:
    return np.flatnonzero(scores.films.status != Status.OK)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """quiet/ with good films; films/ with the same ones, the corpus between them and hostile places; a model."""
    from cxrscore.plugins import get_backend

    folder = tmp_path_factory.mktemp("corpus")
    good_films(folder / "quiet")
    good_films(folder / "films")
    for number, case in enumerate(corpus()):
        (folder / "films" / f"{number:03}-{case.name}").write_bytes(case.data)
    hostile_places(folder / "films")
    spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=SIZE)
    tensors = initial_tensors(spec, 0)
    golden = golden_record(get_backend("openvino").build(spec, tensors, device="cpu"))
    save_model(folder / "model.safetensors", tensors, document(spec, golden=golden))
    return folder


@pytest.fixture(scope="module")
def quiet(home: Path) -> Scores:
    return scored(home, "quiet.h5", "quiet", expect=0)


@pytest.fixture(scope="module")
def mixed(home: Path) -> Scores:
    return scored(home, "mixed.h5", "films", expect=3)


def row(scores: Scores, path: str) -> int:
    return scores.films.path.index(path)


@pytest.mark.slow
def test_every_film_has_its_documented_status(mixed: Scores) -> None:
    for number, case in enumerate(corpus()):
        at = row(mixed, placed(number, case))
        assert_as_documented(case, mixed.films.status[at], mixed.films.message[at], wanted(case))


@pytest.mark.slow
def test_only_films_of_status_ok_have_numbers_and_pictures(mixed: Scores) -> None:
    bad = rows_not_ok(mixed)
    good = np.flatnonzero(mixed.films.status == Status.OK)
    assert np.isnan(mixed.logit[bad]).all()
    assert np.isnan(mixed.prob[bad]).all()
    assert np.isfinite(mixed.logit[good]).all()
    assert sorted(mixed.heat_maps.film) == sorted(good)
    assert set(mixed.thumbnails.film) <= set(good)


@pytest.mark.slow
def test_every_other_row_is_unchanged_to_the_bit(quiet: Scores, mixed: Scores) -> None:
    assert len(quiet.films.path) == len(range(0, len(corpus()), GOOD_EVERY))
    for here, path in enumerate(quiet.films.path):
        there = row(mixed, path)
        for one, other in ((quiet.logit, mixed.logit), (quiet.prob, mixed.prob)):
            assert one[here].tobytes() == other[there].tobytes(), path
        for column in ("sha256", "status", "message", "kind", "width", "height"):
            assert getattr(quiet.films, column)[here] == getattr(mixed.films, column)[there], path
        maps = [s.heat_maps.map[s.heat_maps.film == at] for s, at in ((quiet, here), (mixed, there))]
        assert maps[0].tobytes() == maps[1].tobytes(), path


@pytest.mark.slow
def test_no_pixel_of_one_film_is_in_another(home: Path) -> None:
    """Each decoder has seen every kind of damage before the next good film, whatever it keeps in its memory."""
    names = sorted(p.name for p in (home / "films").iterdir() if re.match(r"\d{3}-(?!.*zip)", p.name))
    found = dict(zip(names, stream_films(home / "films", names, Preprocessing(size=SIZE), workers=1), strict=True))
    for name in names:
        alone = decode_film((home / "films" / name).read_bytes())
        assert found[name].film.status == alone.status, name
        if alone.pixels is None:
            assert found[name].pixels is None, name
        else:
            np.testing.assert_array_equal(found[name].pixels, preprocess(alone.pixels, Preprocessing(size=SIZE)), name)


@pytest.mark.slow
def test_places_that_are_no_films_are_counted_or_named(mixed: Scores) -> None:
    assert not {"folder.png", "pipe.png", "dangling.png", "loop.png", "round", "DICOMDIR"} & set(mixed.films.path)
    assert mixed.provenance["films"]["other_files"] == 3  # pipe.png, round, DICOMDIR
    assert mixed.provenance["warnings"] == [
        "climbs.zip/../../a.png could not be read",
        "cut.zip could not be read",
        "dangling.png could not be read",
        "loop.png could not be read",
    ]
    sparse = row(mixed, "sparse.png")
    assert mixed.films.status[sparse] == Status.TOO_LARGE
    assert mixed.films.sha256[sparse] == sha256_bytes(bytes(MAX_BYTES + 1))
    assert "268,435,457 bytes" in mixed.films.message[sparse]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_film_that_may_not_be_read_says_so(mixed: Scores) -> None:
    shut = row(mixed, "shut.png")
    assert mixed.films.status[shut] == Status.UNREADABLE
    assert mixed.films.message[shut] == "cannot be read: Permission denied"


@pytest.mark.slow
def test_a_film_that_is_gone_says_so(home: Path) -> None:
    (gone,) = stream_films(home, ["gone.png"], Preprocessing(size=SIZE), workers=1)
    assert (gone.film.status, gone.film.message) == (
        Status.UNREADABLE,
        "cannot be read: No such file or directory",
    )


# --- the page on DICOM


@pytest.mark.shared
def test_the_eight_dicom_films_have_their_documented_statuses(shared: Path) -> None:
    """The table of docs/dicom.md."""
    rows = re.findall(r"^\| `(\S+\.dcm)` \|.*\| (\w+) \| (.*) \|$", PAGE.with_name("dicom.md").read_text(), re.M)
    told = {name: (Status[status], message) for name, status, message in rows}
    folder = shared / "data" / "dicom"
    names = sorted(path.name for path in folder.glob("*.dcm"))
    assert set(told) == set(names)
    assert len(names) == 8
    found = stream_films(folder, names, Preprocessing(size=SIZE), workers=2)
    for name, prepared in zip(names, found, strict=True):
        assert (prepared.film.status, prepared.film.message) == told[name], name
        assert (prepared.pixels is None) == (prepared.film.status != Status.OK)
