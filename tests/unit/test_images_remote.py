"""Films on a web server and in a bucket: the same are found as in the folder, and the others get a status."""

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("aiohttp")
pytest.importorskip("obstore")
from corpus_bytes import archive, chest, dicom, png
from servers import bucket, web

from cxrscore.errors import InputError
from cxrscore.images import Preprocessing, Status, film_digest, find_films, read_film, stream_films
from cxrscore.images.decode import LoadedFilm
from cxrscore.images.film import Film
from cxrscore.images.prefetch import MAX_FAILED_IN_A_ROW, detect_outage
from cxrscore.remote import RemotePath, obstore_store, retry

PNG = png(chest())
FILES = {
    "b.png": PNG,
    "ward 1/A.PNG": PNG,
    "ward 1/50% é+&;'.png": PNG,
    "ward 1/deep/er/x.dcm": dicom(),
    "ward 1/IM0001": dicom(),
    "ward 1/notes": b"no film",
    "ward 1/._b.png": b"x",
    "DICOMDIR": dicom(),
    "labels.csv": b"film,Mass\n",
    "nothing": b"",
    "1.2.840.113619.2.55.3.1": dicom(),
    "ward 1/CR.1.2.3.17": PNG,
    "ward 1/scan.tif": b"II*\0",
    "ward 1/1.2.csv": dicom(),
    "empty.png": b"",
}
FILMS = (
    *("1.2.840.113619.2.55.3.1", "b.png", "empty.png", "ward 1/50% é+&;'.png", "ward 1/A.PNG", "ward 1/CR.1.2.3.17"),
    *("ward 1/IM0001", "ward 1/deep/er/x.dcm"),
)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture(params=["web", "s3"])
def elsewhere(request, folder, monkeypatch):
    """A server with FILES, and their address there."""
    if request.param == "web":
        with web(folder) as server:
            yield server, RemotePath(f"{server.url}/?token=canary")
        return
    obstore_store._opened.cache_clear()
    with bucket() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.objects = {f"films/in/{name}": data for name, data in FILES.items()}
        yield server, RemotePath("s3://films/in/")


def test_the_same_films_are_found_as_in_the_folder(elsewhere, folder):
    _, where = elsewhere
    assert find_films(where) == find_films(folder)
    assert find_films(where).paths == FILMS
    assert find_films(where).others.as_dict() == {
        "not_opened": {".csv": 2, "DICOMDIR": 1, "macOS ._ file": 1},
        "no_film": {"empty file": 1, "without suffix": 1},
        "not_supported": {"TIFF image": 1},
    }


def test_the_same_is_read_as_from_the_folder(elsewhere, folder):
    _, where = elsewhere
    for name in FILMS:
        near, far = read_film(folder / name), read_film(where / name)
        assert (far, far.status) == (near, near.status)
        assert (far.pixels is None) == (near.pixels is None)
        assert film_digest(where / name) == film_digest(folder / name) == near.sha256


def test_a_file_that_cannot_be_looked_into_is_told(elsewhere):
    server, where = elsewhere
    server.faults["IM0001"] = "403"
    found = find_films(where)
    assert found.unreadable == ("ward 1/IM0001",)
    assert found.paths == tuple(name for name in FILMS if not name.endswith("IM0001"))


def test_archives_are_not_opened_and_counted(tmp_path):
    for name in ("a.zip", "disc", "1.2.3"):
        (tmp_path / name).write_bytes(archive({"a.png": PNG}))
    with web(tmp_path) as server:
        found = find_films(RemotePath(server.url))
    assert (found.paths, found.others.as_dict()) == ((), {"not_opened": {"zip archive in a remote folder": 3}})


def test_a_folder_that_is_not_there_is_an_error_without_a_secret(elsewhere):
    server, where = elsewhere
    server.faults = {"/": "404", "films": "404"}
    with pytest.raises(InputError, match="nothing at this URL") as caught:
        find_films(where)
    assert "canary" not in str(caught.value)
    assert ("a PACS begins with dicomweb+http://" in str(caught.value)) is where.web


@pytest.mark.parametrize(("fault", "message"), [("404", "nothing at"), ("403", "denied"), ("cut", "not received: ")])
def test_a_film_that_cannot_be_had_gets_a_status(elsewhere, fault, message):
    server, where = elsewhere
    server.faults["b.png"] = fault
    film = read_film(where / "b.png")
    assert (film.status, film.sha256) == (Status.UNREADABLE, "")
    assert message in film.message
    assert "canary" not in film.message
    assert film_digest(where / "b.png") == ""


def test_names_that_lead_elsewhere_or_are_not_utf8_are_no_films(tmp_path):
    (tmp_path / "index.html").write_text("<a href='%2e%2e/up.png'>x</a><a href='%ff.png'>x</a><a href='a.png'>x</a>")
    with web(tmp_path) as server:
        found = find_films(RemotePath(server.url))
    assert found.paths == ("a.png",)
    assert found.unreadable == ("../up.png", "\\udcff.png")


def test_a_bucket_with_a_key_that_has_no_path_is_refused(monkeypatch):
    obstore_store._opened.cache_clear()
    with bucket() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.objects = {"films/a.png": PNG, "films/x/../b.png": PNG}
        with pytest.raises(InputError, match="a key there has an empty part or a part that is a dot"):
            find_films(RemotePath("s3://films"))


def test_films_are_streamed_by_the_decoders(elsewhere, folder):
    _, where = elsewhere
    settings = Preprocessing(size=32, fit="stretch", resize="area")
    near = list(stream_films(folder, FILMS, settings, workers=2))
    far = list(stream_films(where, FILMS, settings, workers=2))
    assert [one.film for one in far] == [one.film for one in near]
    for one, other in zip(far, near, strict=True):
        assert (one.pixels is None) == (other.pixels is None)
        assert one.pixels is None or (one.pixels == other.pixels).all()


def made(message):
    return LoadedFilm(film=Film(status=Status.UNREADABLE if message else Status.OK, message=message), pixels=None)


def given(*films):
    yield from films


def test_a_store_that_answers_no_more_ends_the_stream_before_its_films_are_given_up():
    seen, some, gone = (
        [],
        [made("not received: x")] * 3,
        [made("not received: no answer in time")] * MAX_FAILED_IN_A_ROW,
    )
    with pytest.raises(
        InputError,
        match=f"{MAX_FAILED_IN_A_ROW} consecutive films were not received from s3://films, .* the same command",
    ):
        seen.extend(detect_outage(given(made(""), *some, made(""), *gone, made("")), RemotePath("s3://films")))
    assert (
        len(list(detect_outage(given(*gone[1:], made(""), *gone[1:]), RemotePath("s3://films"))))
        == 2 * MAX_FAILED_IN_A_ROW - 1
    )


def test_films_before_an_outage_are_given_and_those_in_it_are_not():
    stream = detect_outage(given(made(""), *[made("not received: x")] * MAX_FAILED_IN_A_ROW), RemotePath("s3://films"))
    assert next(stream).film.status == Status.OK
    with pytest.raises(InputError):
        next(stream)
