"""`cxrscore view` with films and scores files that are broken or made to do harm: each costs its own page at most."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from corpus import corpus, film_path
from made_run import FINDINGS, GIVEN, made_file, made_shard, merge
from test_hostile_h5_scores import ATTACKS
from test_names_from_outside import encodings

pytest.importorskip("pydicom")
pytest.importorskip("imagecodecs")
pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from cxrscore.errors import FileFormatError
from cxrscore.images import Status
from cxrscore.scorefile import open_run
from cxrscore.scorefile.by_row import open_by_row
from cxrscore.viewer.app import create_app
from cxrscore.viewer.film_files import FilmFiles, NoFilmError
from cxrscore.viewer.security import Access
from cxrscore.viewer.server import ViewOptions, open_viewer

HOST = "127.0.0.1:8123"


@pytest.mark.slow
def test_every_film_of_the_corpus_is_shown_or_says_why_not(tmp_path: Path) -> None:
    cases = {f"{number:03}-{film_path(case)}": case for number, case in enumerate(corpus())}
    (tmp_path / "films").mkdir()
    for path, case in cases.items():
        (tmp_path / "films" / path.removesuffix("/film.png")).write_bytes(case.data)
    paths = sorted(cases)
    run = open_run(tmp_path / "out.h5", paths, FINDINGS, GIVEN)
    for shard, rows in enumerate(run.shards):
        run.write(shard, made_shard(rows))
    merge(run)
    access = Access(hosts=[HOST])
    with open_viewer(ViewOptions(scores=[tmp_path / "out.h5"], films=tmp_path / "films")) as viewer:
        client = TestClient(create_app(viewer, access), base_url=f"http://{HOST}")
        client.get(f"/?token={access.token}")
        shown = 0
        for row, path in enumerate(paths):
            case, answer = cases[path], client.get(f"/film/{row}/pixels")
            assert client.get(f"/film/{row}").status_code == 200
            if answer.status_code == 200:
                shown += 1
                size = int(answer.headers["x-width"]) * int(answer.headers["x-height"])
                assert len(answer.content) == size * int(answer.headers["x-bits"]) // 8
                # Films of other modalities and body parts can be looked at.
                assert Status.OK in (case.status, case.strict) or case.status == Status.NOT_CHEST, case.name
            else:
                assert answer.status_code == 404, case.name
                assert answer.text.startswith("The film cannot be shown: "), case.name
                assert case.strict != Status.OK, case.name
        assert shown > 20


def read_all(path: Path) -> None:
    """Reads what pages read."""
    with open_by_row(path) as rows:
        for row in range(len(rows)):
            rows.sha256(row)
        rows.map_scale()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_hostile_scores_file_is_refused(attack, tmp_path: Path, hostile_base: bytes) -> None:
    path, canary = tmp_path / "out.h5", tmp_path / "canary"
    path.write_bytes(hostile_base)
    canary.write_bytes(b"canary")
    with h5py.File(path, "r+") as file:
        attack(file, canary)
    with pytest.raises(FileFormatError):
        read_all(path)
    assert canary.read_bytes() == b"canary"


@pytest.fixture(scope="module")
def hostile_base(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made_file(tmp_path_factory.mktemp("base") / "out.h5", 150).read_bytes()


@pytest.mark.parametrize("number", range(7))
def test_a_name_of_a_file_of_the_user_opens_nothing(number: int, tmp_path: Path) -> None:
    precious = tmp_path / "precious.png"
    precious.write_bytes(corpus()[0].data)
    (tmp_path / "films").mkdir()
    names = [encodings(precious)[number], f"../{precious.name}", str(precious)]

    class Named:
        path = tuple(names)
        status = np.ones(3, np.uint8)

        def sha256(self, row: int) -> str:
            return ""

    films = FilmFiles(Named(), tmp_path / "films")  # type: ignore[arg-type]
    try:
        for row in range(3):
            with pytest.raises(NoFilmError) as told:
                films.film(row)
            assert "precious" not in str(told.value)
    finally:
        films.close()


def test_a_row_that_is_damaged_costs_its_page(tmp_path: Path) -> None:
    path = made_file(tmp_path / "out.h5", 30)
    with h5py.File(path, "r+") as file:
        offset = file["cam/map"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[offset + 20] ^= 0xFF
    path.write_bytes(data)
    access = Access(hosts=[HOST])
    with open_viewer(ViewOptions(scores=[path])) as viewer:
        client = TestClient(create_app(viewer, access), base_url=f"http://{HOST}")
        client.get(f"/?token={access.token}")
        answer = client.get("/film/1/map/1")
        assert (answer.status_code, "cxrscore verify" in answer.text) == (500, True)
        assert client.get("/film/1").status_code == 200
        assert np.isfinite(viewer.scores.prob[1]).all()
