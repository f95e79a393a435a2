"""Listings elsewhere that have no end, in breadth, depth, bytes or time: each bound ends them with words."""

import gzip
import time
import zlib
from contextlib import contextmanager

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("obstore")
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from servers import Server, bucket, running

from cxrscore.errors import RemoteError, RemoteTooLargeError
from cxrscore.images import find_films
from cxrscore.remote import (
    RemotePath,
    bounds,
    download,
    fsspec_store,
    list_remote,
    obstore_store,
    read_remote,
    retry,
    transfer,
)
from cxrscore.remote.bounds import MAX_DEPTH, MAX_REPEATED_LISTINGS, Entry, ListingBounds, walk


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def pages(answer, **headers):
    """A web server that answers each path, below its root, with what ``answer`` gives; yields it and its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.fault(f"GET {self.path}")
            body = answer(urlsplit(self.path).path)
            self.send_response(200)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Quiet."""

    with running(Server(Handler)) as server:
        yield server, RemotePath(f"{server.url}/films/")


def links(*names):
    return "".join(f'<a href="{name}">x</a>' for name in names).encode()


LOOPS = {
    "the same two folders in each": lambda path: links("a/", "b/", "x.png"),
    "one folder in each": lambda path: links("again/", "x.png"),
    "folders by turns": lambda path: links("b/" if path.endswith("a/") else "a/", "x.png"),
    "other names in each": lambda path: links(f"{path.count('/')}a/", f"{path.count('/')}b/", "x.png"),
    "names that were drawn": lambda path: links(*(f"{zlib.crc32(f'{path}{n}'.encode())}/" for n in range(40))),
    "folders alone": lambda path: links("a/", "b/", "c/"),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_tree_without_end_is_noticed_within_as_many_requests_as_it_has_levels(name):
    with (
        pages(LOOPS[name]) as (server, where),
        pytest.raises(RemoteError, match=r"A link probably leads back to a folder above it\. Choose a subfolder"),
    ):
        find_films(where)
    assert sum(server.asked.values()) <= MAX_DEPTH + 2


def test_a_loop_that_lists_the_same_is_noticed_earlier():
    with (
        pages(LOOPS["one folder in each"]) as (server, where),
        pytest.raises(RemoteError, match=f"lists the same names as {MAX_REPEATED_LISTINGS} of the folders above it"),
    ):
        list_remote(where, [])
    assert sum(server.asked.values()) <= MAX_REPEATED_LISTINGS + 1


def test_folders_that_list_the_same_within_each_other_are_an_archive_like_others():
    digits = [Entry(path=f"{digit}/") for digit in range(4)]

    def listed(below):
        return digits if below.count("/") < 5 else [Entry(path="x.png")]

    found = list(walk(listed, [], ListingBounds(RemotePath("http://h/"), time.monotonic() + 60)))
    assert len(found) == 4**5


@pytest.mark.parametrize("limit", ["MAX_FOLDERS", "MAX_NAMES", "MAX_BYTES"])
def test_each_bound_is_told(monkeypatch, limit):
    monkeypatch.setattr(bounds, limit, 50)
    words = {
        "MAX_FOLDERS": "more than 50 folders",
        "MAX_NAMES": "more than 50 names",
        "MAX_BYTES": "50 bytes in all",
    }

    def wide(path):
        return links(*(f"{n}/" for n in range(20))) if path.count("/") < 4 else links("x.png")

    with pages(wide) as (_, where), pytest.raises(RemoteError, match=rf"{words[limit]}\. Choose a subfolder"):
        list_remote(where, [])


def test_a_listing_that_takes_too_long_ends(monkeypatch):
    monkeypatch.setattr(transfer, "MAX_SECONDS", -1.0)
    with pages(LOOPS["folders alone"]) as (_, where), pytest.raises(RemoteError, match="listing it takes over"):
        list_remote(where, [])


@pytest.mark.slow
def test_a_large_archive_is_listed_with_one_request_a_folder():
    patients = 300

    def listed(path):
        if path.count("/") == 2:
            return links(*(f"p{n}/" for n in range(patients)), "labels.csv")
        return links("s1/", "s2/") if path.count("/") == 3 else links("0.png", "1.png")

    with pages(listed) as (server, where):
        found = find_films(where)
    assert (len(found.paths), found.others.total, found.unreadable) == (patients * 4, 1, ())
    assert sum(server.asked.values()) == 1 + patients * 3


def test_a_folder_and_a_film_that_are_linked_from_several_pages_are_asked_for_once():
    with pages(lambda path: links("/films/a/", "/films/a/x.png", "/films/a/b/")) as (server, where):
        assert [entry.path for entry in list_remote(where, [])] == ["a/x.png"]
    assert max(server.asked.values()) == 1


def test_folders_that_lead_elsewhere_or_are_not_utf8_are_named_and_not_asked_for():
    odd = links("%2e%2e/", "a/%2e%2e/%2e%2e/", "%ff/", "n%00/", "http://[bad/", "in/")

    with pages(lambda path: odd if path.count("/") == 2 else links("x.png")) as (server, where):
        unreadable = []
        assert [entry.path for entry in list_remote(where, unreadable)] == ["in/x.png"]
    assert sorted(unreadable) == ["..", "\\udcff", "a/../..", "n\0"]
    assert set(server.asked) == {"GET /films/", "GET /films/in/"}


def test_a_page_that_is_no_html_is_an_error_and_not_asked_for_again():
    with pages(lambda path: b"<![<![<![") as (server, where), pytest.raises(RemoteError, match="is not valid HTML"):
        list_remote(where, [])
    assert sum(server.asked.values()) == 1


def test_what_is_sent_packed_is_unpacked():
    with pages(lambda path: gzip.compress(links("x.png")), Content_Encoding="gzip") as (_, where):
        assert [entry.path for entry in list_remote(where, [])] == ["x.png"]


def test_a_bomb_that_is_sent_packed_does_not_go_off(tmp_path, monkeypatch):
    monkeypatch.setattr(fsspec_store, "_UNQUESTIONED", 1 << 20)
    bomb = gzip.compress(bytes(20 << 20))
    with pages(lambda path: bomb, Content_Encoding="gzip") as (_, where):
        with pytest.raises(RemoteError, match="unpacks to over 100 times the bytes that the server sends"):
            download(where, tmp_path / "copy")
        with pytest.raises(RemoteTooLargeError):
            read_remote(where, 1000)
        with pytest.raises(RemoteError, match="cannot read"):
            list_remote(where, [])
    assert (tmp_path / "copy").stat().st_size <= 2 << 20


def test_another_packing_than_gzip_is_refused():
    with (
        pages(lambda path: b"x", Content_Encoding="br") as (_, where),
        pytest.raises(RemoteError, match="compresses it as 'br', although the request forbids it"),
    ):
        read_remote(where, 1000)


def test_a_download_that_only_trickles_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "READ_TIMEOUT", -100.0)
    with (
        pages(lambda path: b"x" * 1000) as (_, where),
        pytest.raises(RemoteError, match="less than 1000 bytes per second") as caught,
    ):
        download(where, tmp_path / "copy")
    assert caught.value.passing


@pytest.fixture
def cloud(monkeypatch):
    obstore_store._opened.cache_clear()
    with bucket() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def test_a_bucket_of_more_names_than_are_read_is_refused(cloud, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_NAMES", 5)
    cloud.objects = {f"films/in/{number}.png": b"x" for number in range(8)}
    with pytest.raises(RemoteError, match="lists more than 5 names"):
        list_remote(RemotePath("s3://films/in/"), [])


def test_a_bucket_that_lists_nothing_without_end_is_left(cloud, monkeypatch):
    monkeypatch.setattr(obstore_store, "_ONE_PAGE", 0.5)
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    monkeypatch.setattr(
        cloud.RequestHandlerClass, "do_GET", lambda self: self.reply(200, page + b"</ListBucketResult>", {})
    )
    with pytest.raises(RemoteError, match=r"no page of its list arrived in 0\.5 s"):
        list_remote(RemotePath("s3://films/in/"), [])


def test_other_file_systems_are_held_to_the_same_bounds(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    for number in range(8):
        MemoryFileSystem().pipe_file(f"/bounded/{number}/x.png", b"x")
    found = list_remote(RemotePath("memory://bounded"), [])
    assert sorted(entry.path for entry in found) == [f"{number}/x.png" for number in range(8)]
    monkeypatch.setattr(bounds, "MAX_FOLDERS", 5)
    with pytest.raises(RemoteError, match="more than 5 folders"):
        list_remote(RemotePath("memory://bounded"), [])


def test_a_folder_of_another_file_system_that_cannot_be_listed_is_told(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem().pipe_file("/closed/in/x.png", b"x")
    MemoryFileSystem().pipe_file("/closed/out/x.png", b"x")
    listed = MemoryFileSystem.ls

    def refusing(self, path, **more):
        if path.endswith("/in"):
            raise PermissionError
        return listed(self, path, **more)

    monkeypatch.setattr(MemoryFileSystem, "ls", refusing)
    unreadable = []
    assert [entry.path for entry in list_remote(RemotePath("memory://closed"), unreadable)] == ["out/x.png"]
    assert unreadable == ["in"]
    with pytest.raises(RemoteError, match="nothing at this URL"):
        list_remote(RemotePath("memory://nowhere"), [])
    with pytest.raises(RemoteError, match="it is a file, expected a folder"):
        list_remote(RemotePath("memory://closed/out/x.png"), [])
