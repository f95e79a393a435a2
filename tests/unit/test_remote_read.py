"""Reading and writing elsewhere, against servers that fail: how often is asked, how much is received, what is told."""

import copy
import os
import re
import subprocess
import sys
import tempfile
import threading

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("obstore")
from servers import at_first, bucket, web

from cxrscore.errors import FileFormatError, InputError, RemoteError, RemoteTooLargeError, WriteError
from cxrscore.remote import (
    RemotePath,
    as_local_path,
    download,
    list_remote,
    obstore_store,
    read_remote,
    remote_exists,
    retry,
    transfer,
    upload,
)
from cxrscore.scorefile import open_scores

DATA = bytes(range(256)) * 4


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    (folder / "ward 1").mkdir(parents=True)
    (folder / "ward 1" / "50% é.png").write_bytes(DATA)
    (folder / "empty").write_bytes(b"")
    with web(folder) as server:
        yield server


@pytest.fixture
def cloud(monkeypatch):
    obstore_store._opened.cache_clear()
    with bucket() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["web", "s3"])
def film(request):
    """A server, and the address of DATA there."""
    if request.param == "web":
        server = request.getfixturevalue("site")
        return server, RemotePath(f"{server.url.replace('//', '//user:canary@')}/?token=canary") / "ward 1/50% é.png"
    server = request.getfixturevalue("cloud")
    server.objects["films/ward 1/50% é.png"] = DATA
    return server, RemotePath("s3://films/ward 1/50% é.png")


def asked(server):
    return sum(count for line, count in server.asked.items() if line.endswith("50% é.png"))


def test_a_file_is_read_whole_or_as_much_of_it_as_is_wanted(film):
    server, where = film
    assert read_remote(where, 2000) == DATA
    assert read_remote(where, 2000, first=100) == DATA[:100]
    assert asked(server) == 2
    assert any("Range" in headers or "range" in headers for headers in server.headers)


def test_the_token_goes_with_each_request_and_so_does_the_password(site):
    read_remote(RemotePath(f"{site.url.replace('//', '//user:canary@')}/?token=canary") / "ward 1/50% é.png", 2000)
    assert site.headers[-1]["Authorization"].startswith("Basic ")


def test_credentials_come_from_where_the_libraries_look_for_them(site, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password canary\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    read_remote(RemotePath(f"{site.url}/empty"), 10)
    assert site.headers[-1]["Authorization"].startswith("Basic ")

    monkeypatch.setenv("NETRC", "")
    words = "from cxrscore.remote import *; read_remote(RemotePath(sys.argv[1]), 10)"
    own = {**os.environ, "FSSPEC_HTTPS": '{"headers": {"Authorization": "Bearer canary"}}'}
    subprocess.run([sys.executable, "-c", f"import sys; {words}", f"{site.url}/empty"], env=own, check=True)
    assert site.headers[-1]["Authorization"] == "Bearer canary"


@pytest.mark.parametrize("fault", ["503", "500", "429", "drop", "cut"])
def test_what_may_pass_is_tried_again(film, fault):
    server, where = film
    server.faults["50% é.png"] = at_first(fault)
    assert read_remote(where, 2000) == DATA
    assert asked(server) == 2


@pytest.mark.parametrize(("fault", "words"), [("404", "nothing at this URL"), ("403", "denied"), ("401", "denied")])
def test_what_will_stay_is_asked_once(film, fault, words):
    server, where = film
    server.faults["50% é.png"] = fault
    with pytest.raises(RemoteError, match=words) as caught:
        read_remote(where, 2000)
    assert asked(server) == 1
    assert not caught.value.passing
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("fault", ["drop", "cut", "503"])
def test_patience_ends(site, fault):
    where = RemotePath(f"{site.url.replace('//', '//user:canary@')}/?token=canary") / "ward 1/50% é.png"
    site.faults["50% é.png"] = fault
    with pytest.raises(RemoteError, match=rf"{retry.TRIES} times") as caught:
        read_remote(where, 2000)
    # aiohttp itself asks again where a kept connection was dropped.
    assert retry.TRIES <= asked(site) <= 2 * retry.TRIES
    assert caught.value.passing
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_cut_object_is_noticed(cloud):
    cloud.objects["films/a.png"] = DATA
    cloud.faults["a.png"] = "cut"
    with pytest.raises(RemoteError) as caught:
        read_remote(RemotePath("s3://films/a.png"), 2000)
    assert caught.value.passing


def test_no_more_is_received_than_is_wanted(film):
    _, where = film
    assert read_remote(where, len(DATA)) == DATA
    with pytest.raises(RemoteTooLargeError, match="more than 1,023 bytes"):
        read_remote(where, len(DATA) - 1)


def test_what_never_ends_is_left_at_the_limit(site):
    site.faults["empty"] = "endless"
    with pytest.raises(RemoteTooLargeError):
        read_remote(RemotePath(f"{site.url}/empty"), 8 << 20)


def test_what_never_ends_is_left_when_its_time_is_over(site, monkeypatch):
    monkeypatch.setattr(transfer, "READ_TIMEOUT", 0.3)
    site.faults["empty"] = "endless"
    with pytest.raises(RemoteError, match="longer than") as caught:
        read_remote(RemotePath(f"{site.url}/empty"), 1 << 40)
    assert caught.value.passing


def test_an_empty_file_has_no_first_bytes(site, cloud):
    cloud.objects["films/empty"] = b""
    for where in (RemotePath(f"{site.url}/empty"), RemotePath("s3://films/empty")):
        assert read_remote(where, 10, first=10) == read_remote(where, 10) == b""


def test_files_below_a_page_are_found(site):
    unreadable = []
    found = list_remote(RemotePath(f"{site.url}/"), unreadable)
    assert sorted(entry.path for entry in found) == ["empty", "ward 1/50% é.png"]
    assert not unreadable


def test_links_that_lead_elsewhere_are_left(site, tmp_path):
    page = (
        "<a href='../'>up</a><a href='?C=N;O=D'>sort</a><a href='https://elsewhere/x.png'>x</a><a href='/y.png'>y</a>"
        "<A HREF='./in.png'>in</A><a href='in.png'>in</a><a href=in%2520.png#top>in</a><a href='a&amp;b.png'>a</a>"
    )
    (tmp_path / "site" / "ward 1" / "index.html").write_text(page)
    found = list_remote(RemotePath(f"{site.url}/ward 1"), [])
    assert sorted(entry.path for entry in found) == ["a&b.png", "in.png"]


def test_a_folder_that_cannot_be_listed_is_told_and_the_others_are_found(site):
    site.faults["ward 1/"] = "403"
    unreadable = []
    assert [entry.path for entry in list_remote(RemotePath(site.url), unreadable)] == ["empty"]
    assert unreadable == ["ward 1"]


def test_objects_are_listed_over_several_pages(cloud):
    keys = [f"in/{number}% é.png" for number in range(8)]
    cloud.objects = {f"films/{key}": DATA for key in [*keys, "other/x.png", "inside.png"]}
    cloud.faults["GET /films"] = at_first("503")
    found = list_remote(RemotePath("s3://films/in/"), [])
    assert [f"in/{entry.path}" for entry in found] == keys
    assert {entry.size for entry in found} == {len(DATA)}


@pytest.mark.parametrize("size", [10, 12 << 20])
def test_an_upload_is_whole_and_checked(cloud, tmp_path, size):
    (tmp_path / "out.h5").write_bytes(data := os.urandom(size))
    target = RemotePath("s3://films/out.h5")
    assert not remote_exists(target)
    upload(tmp_path / "out.h5", target)
    assert cloud.objects == {"films/out.h5": data}
    assert remote_exists(target)
    download(target, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("size", "method"), [(10, "PUT"), (12 << 20, "PUT"), (12 << 20, "POST")])
def test_an_upload_that_fails_leaves_what_was_there(cloud, tmp_path, size, method):
    (tmp_path / "out.h5").write_bytes(os.urandom(size))
    cloud.objects["films/out.h5"] = b"earlier"
    cloud.faults[f"{method} /films/out.h5"] = "403" if size > 10 else "503"
    with pytest.raises(WriteError, match=r"cannot write s3://films/out\.h5"):
        upload(tmp_path / "out.h5", RemotePath("s3://films/out.h5"))
    assert cloud.objects == {"films/out.h5": b"earlier"}


def test_an_upload_that_is_cut_off_once_is_made_again(cloud, tmp_path):
    (tmp_path / "out.h5").write_bytes(data := os.urandom(12 << 20))
    cloud.faults["PUT /films/out.h5"] = iter(["drop"] * 4)
    upload(tmp_path / "out.h5", RemotePath("s3://films/out.h5"))
    assert cloud.objects == {"films/out.h5": data}


def test_an_upload_of_another_size_is_noticed(cloud, tmp_path, monkeypatch):
    (tmp_path / "out.h5").write_bytes(DATA)
    monkeypatch.setattr(obstore_store.ObjectStore, "size", lambda self: 7)
    with pytest.raises(WriteError, match="has 7 bytes after the upload, expected 1,024"):
        upload(tmp_path / "out.h5", RemotePath("s3://films/out.h5"))


def test_other_file_systems_get_the_file_under_another_name_first(tmp_path):
    from fsspec.implementations.memory import MemoryFileSystem

    (tmp_path / "out.h5").write_bytes(DATA)
    target = RemotePath("memory://made/deep/out.h5")
    seen = []
    moved = MemoryFileSystem.mv

    def looked_at(self, source, name):
        seen.append((source, remote_exists(target)))
        moved(self, source, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFileSystem, "mv", looked_at)
        upload(tmp_path / "out.h5", target)
    assert re.fullmatch(r"/made/deep/\.out\.h5\.\w{8}\.part", seen[0][0])
    assert not seen[0][1]
    assert [entry.path for entry in list_remote(RemotePath("memory://made"), [])] == ["deep/out.h5"]
    assert read_remote(target, 2000) == DATA


def test_other_file_systems_are_not_believed(tmp_path, monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    (tmp_path / "out.h5").write_bytes(DATA)
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda self, source, name: self.pipe_file(name, DATA[:-1] + b"!"))
    with pytest.raises(WriteError, match="the transfer ended early"):
        upload(tmp_path / "out.h5", RemotePath("memory://doubted/out.h5"))
    assert not MemoryFileSystem().find("/doubted")


def test_a_web_server_is_only_read(tmp_path):
    with pytest.raises(InputError, match="read-only"):
        upload(tmp_path / "out.h5", RemotePath("https://host/out.h5?token=canary"))


def test_a_copy_on_disk_is_private_and_goes(cloud):
    cloud.objects["films/out.h5"] = DATA
    with as_local_path("s3://films/out.h5") as copy:
        assert copy.read_bytes() == DATA
        assert copy.parent.stat().st_mode & 0o777 == 0o700
    assert not copy.parent.exists()


def test_errors_about_a_copy_name_the_address(cloud):
    cloud.objects["films/out.h5"] = DATA
    with pytest.raises(FileFormatError, match=r"^s3://films/out\.h5 ") as caught:
        open_scores("s3://films/out.h5")
    assert tempfile.gettempdir() not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nosuch://u:canary@x/y", "nosuch:// is not a protocol that fsspec supports"),
        ("sftp://u:canary@x/y", "paramiko"),
    ],
)
def test_an_address_that_no_library_opens_says_what_is_missing(url, words):
    if url.startswith("sftp") and transfer.importlib.util.find_spec("paramiko"):
        pytest.skip("paramiko is installed")
    with pytest.raises(InputError, match=words) as caught:
        list_remote(RemotePath(url), [])
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "gone", "told"),
    [
        ("s3://u:canary@bucket/x", ("obstore", "s3fs", "fsspec"), "s3://bucket/x cannot be opened without fsspec"),
        ("s3://u:canary@bucket/x", ("obstore", "s3fs"), "s3:// cannot be opened"),
        ("https://u:canary@h/x", ("aiohttp",), "https:// cannot be opened"),
    ],
)
def test_without_the_extra_the_line_that_installs_it_is_told(url, gone, told):
    words = f"import sys; sys.modules |= dict.fromkeys({gone}); from cxrscore.remote import *; "
    words += f"list_remote(RemotePath({url!r}), [])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert f"InputError: {told}" in done.stderr
    assert transfer.INSTALL in done.stderr.splitlines()[-1]
    assert "canary" not in done.stderr.splitlines()[-1]


def test_an_endpoint_without_encryption_must_be_allowed(cloud, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(RemoteError, match="AWS_ALLOW_HTTP"):
        read_remote(RemotePath("s3://films/a.png"), 10)


def test_the_error_comes_whole_out_of_another_process():
    error = RemoteTooLargeError("s3://films/a.png", "more than 7 bytes", status=200)
    twin = copy.copy(error)  # by way of __reduce__, as pickle does
    assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


def test_nothing_is_left_running(site):
    before = own_threads()
    for _ in range(3):
        read_remote(RemotePath(f"{site.url}/empty"), 10)
    assert {thread.name for thread in own_threads() - before} <= {"fsspecIO"}  # one for all


def own_threads():
    """Those that are neither the server's nor of the pool of few in which asyncio looks up names."""
    others = ("process_request_thread", "asyncio_")
    return {thread for thread in threading.enumerate() if not any(word in thread.name for word in others)}
