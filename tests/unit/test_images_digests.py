"""Digests of films: those of the bytes on disk now, whatever is recorded; films that have not changed are not read."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpus_bytes import archive, chest, png

from cxrscore.errors import InputError
from cxrscore.images import digest_column, digests, film_states, remember_digests
from cxrscore.images.digests import FileState
from cxrscore.images.prefetch import MAX_FAILED_IN_A_ROW
from cxrscore.io import atomic_write_bytes
from cxrscore.remote import RemotePath

FILMS = {"a.png": b"film a", "deep/b.png": b"film b", "c.png": b"film c"}
PATHS = tuple(FILMS)
DIGESTS = [hashlib.sha256(data).hexdigest() for data in FILMS.values()]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "digests"


@pytest.fixture
def folder(tmp_path: Path, cache: Path) -> Path:
    return filled(tmp_path / "films")


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The films of a test count as made long before it: no program can set a ctime."""
    monkeypatch.setattr(digests, "MARGIN_NS", -3_600_000_000_000)
    monkeypatch.setattr(digests, "_COARSE_NS", 1 << 62)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The films whose bytes are read, in any order."""
    names: list[str] = []
    file_digest = hashlib.file_digest

    def counted(file, name):
        names.append(Path(file.name).name)
        return file_digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return names


def film_digests(*given, **options) -> list[str]:
    return [digest.decode() for digest in digest_column(*given, **options).tolist()]


def filled(folder: Path) -> Path:
    for name, data in FILMS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def in_place(film: Path) -> None:
    film.write_bytes(b"FILM A")


def by_another_file(film: Path) -> None:
    other = film.with_name("other")
    other.write_bytes(b"FILM A")
    os.replace(other, film)


def record_of(cache: Path) -> Path:
    (found,) = cache.glob("*.digests")
    return found


def test_digests_are_those_of_the_bytes_in_order_and_a_film_that_cannot_be_read_has_none(folder: Path) -> None:
    done: list[int] = []
    paths = ["c.png", "missing.png", *PATHS]
    found = film_digests(folder, paths, workers=3, progress=done.append)
    assert found == [DIGESTS[2], "", *DIGESTS]
    assert done == [1, 2, 3, 4, 5]
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    assert film_digests(folder, ["pipe.png", "folder.png", "deep"], workers=2) == ["", "", ""]


def recorded(cache: Path) -> set[str]:
    _, _, records = record_of(cache).read_bytes().split(b"\n", 2)
    return {key.hex() for key in np.frombuffer(records, digests._RECORD)["key"].tolist()}


@pytest.mark.usefixtures("old")
def test_a_film_that_has_not_changed_is_read_once_and_anew_where_that_is_asked_for(
    folder: Path, cache: Path, read: list[str]
) -> None:
    assert film_digests(folder, PATHS, workers=2) == DIGESTS
    assert sorted(read) == ["a.png", "b.png", "c.png"]
    read.clear()
    assert film_digests(folder, PATHS, workers=2) == DIGESTS
    assert read == []
    assert film_digests(folder, PATHS, workers=2, rehash=True) == DIGESTS
    assert sorted(read) == ["a.png", "b.png", "c.png"]
    assert stat.S_IMODE(record_of(cache).stat().st_mode) == 0o600
    assert not [name for name in (b"films/", b".png", b"deep") if name in record_of(cache).read_bytes()]


def test_a_film_that_has_just_been_written_is_read_each_time(folder: Path, cache: Path, read: list[str]) -> None:
    for _ in range(2):
        read.clear()
        assert film_digests(folder, PATHS, workers=2) == DIGESTS
        assert sorted(read) == ["a.png", "b.png", "c.png"]
    assert not cache.exists()


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("change", [in_place, by_another_file])
def test_another_film_of_the_same_name_size_and_mtime_is_read(
    folder: Path, change: Callable[[Path], None], read: list[str]
) -> None:
    film_digests(folder, PATHS, workers=1)
    before = (folder / "a.png").stat()
    change(folder / "a.png")
    os.utime(folder / "a.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (folder / "a.png").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    read.clear()
    assert film_digests(folder, PATHS, workers=1) == [hashlib.sha256(b"FILM A").hexdigest(), *DIGESTS[1:]]
    assert read == ["a.png"]


@pytest.mark.usefixtures("old")
def test_films_of_another_folder_that_took_the_name_are_read(tmp_path: Path, folder: Path, read: list[str]) -> None:
    film_digests(folder, PATHS, workers=1)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "a.png").write_bytes(b"FILM A")
    shutil.copystat(folder / "a.png", other / "a.png")
    folder.rename(tmp_path / "away")
    other.rename(folder)
    read.clear()
    assert film_digests(folder, PATHS, workers=1)[0] == hashlib.sha256(b"FILM A").hexdigest()
    assert sorted(read) == ["a.png", "b.png", "c.png"]


@pytest.mark.usefixtures("old")
def test_a_film_that_changes_while_it_is_read_is_not_recorded(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_digest = hashlib.file_digest

    def overtaken(file, name):
        found = file_digest(file, name)
        if Path(file.name).name == "a.png":
            (folder / "a.png").write_bytes(b"film A, longer")
        return found

    monkeypatch.setattr(hashlib, "file_digest", overtaken)
    film_digests(folder, PATHS, workers=1)
    assert recorded(cache) == {digests._key("c.png"), digests._key("deep/b.png")}


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "pipe", "folder", "other folder", "bare JSON"])
def test_a_record_that_is_damaged_or_of_another_folder_is_never_believed(
    tmp_path: Path, folder: Path, cache: Path, read: list[str], damage: str
) -> None:
    film_digests(folder, PATHS, workers=1)
    record = record_of(cache)
    data = record.read_bytes()
    wrong = data.replace(bytes.fromhex(DIGESTS[0]), bytes.fromhex(DIGESTS[1]))
    assert wrong != data
    record.unlink()
    if damage == "pipe":
        os.mkfifo(record)
    elif damage == "folder":
        record.mkdir()
    elif damage == "other folder":
        text = wrong.partition(b"\n")[2].replace(record.stem.encode(), digests._key(tmp_path / "moved").encode())
        record.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
    else:
        changed = {"flipped": wrong, "cut": data[:-9], "empty": b"", "bare JSON": b"x\n[1, 2]"}
        record.write_bytes(changed[damage])
    read.clear()
    assert film_digests(folder, PATHS, workers=1) == DIGESTS
    assert sorted(read) == ["a.png", "b.png", "c.png"]


@pytest.mark.usefixtures("old")
def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "a file"))
    assert film_digests(folder, PATHS, workers=1) == DIGESTS
    remember_digests(folder, PATHS, DIGESTS, states=film_states(folder, PATHS))


@pytest.mark.usefixtures("old")
def test_the_records_of_the_folders_used_last_stay(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_FOLDERS", 2)
    folders = [filled(tmp_path / f"films {number}") for number in range(3)]
    for age, folder in enumerate(folders):
        film_digests(folder, PATHS, workers=1)
        for record in cache.glob("*.digests"):
            found = record.stat()
            os.utime(record, ns=(found.st_atime_ns, found.st_mtime_ns - 1_000_000_000 * (age + 1)))
    kept = [json.loads(file.read_bytes().split(b"\n", 2)[1])["folder"] for file in cache.iterdir()]
    assert sorted(kept) == sorted(digests._key(folder) for folder in folders[1:])


@pytest.mark.usefixtures("old")
def test_records_beyond_the_largest_size_are_not_written(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film_digests(folder, ["a.png"], workers=1)
    monkeypatch.setattr(digests, "_LARGEST", record_of(cache).stat().st_size + 20)
    film_digests(folder, PATHS[1:2], workers=1)  # both would be too many: those in use stay
    assert recorded(cache) == {digests._key("deep/b.png")}
    before = record_of(cache).read_bytes()
    film_digests(folder, PATHS, workers=1)
    assert record_of(cache).read_bytes() == before


@pytest.mark.usefixtures("old")
def test_members_of_an_archive_go_by_its_file(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = tmp_path / "films"
    films.mkdir()
    first, second = png(chest()), bytes(reversed(png(chest())))
    atomic_write_bytes(films / "x.zip", archive({"a.png": first}, packed=False))
    before = (films / "x.zip").stat()
    paths = ["x.zip/a.png", "x.zip/missing.png"]
    assert film_digests(films, paths, workers=2) == [hashlib.sha256(first).hexdigest(), ""]
    with monkeypatch.context() as context:
        context.setattr(digests, "film_digest", lambda path: pytest.fail(f"{path} is read"))
        assert film_digests(films, paths[:1], workers=2) == [hashlib.sha256(first).hexdigest()]
    atomic_write_bytes(films / "x.zip", archive({"a.png": second}, packed=False))
    os.utime(films / "x.zip", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (films / "x.zip").stat().st_size == before.st_size
    assert film_digests(films, paths[:1], workers=2) == [hashlib.sha256(second).hexdigest()]


@pytest.mark.usefixtures("old")
def test_digests_that_a_run_took_are_recorded_for_films_that_stayed_as_they_were(folder: Path, read: list[str]) -> None:
    states = film_states(folder, PATHS)
    by_another_file(folder / "a.png")
    remember_digests(folder, PATHS, [*DIGESTS[:2], ""], states=states)
    assert film_digests(folder, PATHS, workers=1) == [hashlib.sha256(b"FILM A").hexdigest(), *DIGESTS[1:]]
    assert sorted(read) == ["a.png", "c.png"]


def test_digests_of_films_written_shortly_before_a_run_are_not_recorded(folder: Path, cache: Path) -> None:
    remember_digests(folder, PATHS, DIGESTS, states=film_states(folder, PATHS))
    assert not cache.exists()


@pytest.mark.parametrize(
    ("mtime", "ctime", "settled"),
    [
        (1_000_000_001, 1_000_000_001, True),
        (1_000_000_001, 9_000_000_001, False),  # changed within the margin
        (9_000_000_001, 1_000_000_001, False),
        (99_000_000_001, 1_000_000_001, False),  # in the future
        (1_000_000_001, 2_000_000_000, False),  # a file system that keeps whole seconds, such as FAT
    ],
)
def test_times_are_trusted_where_a_later_change_must_show_in_them(mtime: int, ctime: int, settled: bool) -> None:
    state = FileState(size=1, mtime_ns=mtime, ctime_ns=ctime, inode=1, device=1)
    assert state.settled(10_000_000_000) == settled


def test_remote_films_are_always_read_and_a_store_that_is_silent_ends_it(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    from servers import web

    from cxrscore.remote import retry

    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with web(folder) as server:
        where = RemotePath(server.url)
        for _ in range(2):
            server.asked.clear()
            assert film_digests(where, [*PATHS, "missing.png"], workers=2) == [*DIGESTS, ""]
            assert server.asked["GET /a.png"] == 1
        remember_digests(where, PATHS, DIGESTS, states=film_states(where, PATHS))
        server.faults["a.png"] = "cut"
        with pytest.raises(InputError, match=f"{MAX_FAILED_IN_A_ROW} consecutive films were not received"):
            film_digests(where, ["a.png"] * MAX_FAILED_IN_A_ROW, workers=4)
    assert not cache.exists()
