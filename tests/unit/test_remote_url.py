"""Addresses: what they name, how they are joined, and that nobody sees what is secret in them."""

from pathlib import Path

import pytest

from cxrscore.errors import InputError
from cxrscore.remote import RemotePath, location_text, parse_location, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/films", "s3://bucket/films"),
        ("https://user:pass@host:81/films/", "https://host:81/films/"),
        ("https://host/films/?token=t0ken&x=1", "https://host/films/"),
        ("https://host/films#t0ken", "https://host/films"),
        ("https://host?token=t0ken", "https://host"),
        ("https://user:p@ss@host/films", "https://host/films"),
        ("https://user:pa?ss@host/films", "https://..."),
        ("https://user:pa/ss@host/films", "https://..."),
        ("https://user:pa/s?s@host/films", "https://..."),
        ("https://user:p@s/s@host/films", "https://..."),
        ("https://user:p@s/?s@host/films", "https://..."),
        ("https://user:12?34@host/films", "https://..."),
        ("https://user:secret@host?x", "https://host"),
        ("https://host:8042/a@b", "https://host:8042/a@b"),
        ("dicomweb+https://user:secret@[::1]:8042/d", "dicomweb+https://[::1]:8042/d"),
        ("https://host?token=t0k@en/x", "https://..."),
        ("https://token@host", "https://host"),
    ],
)
def test_an_address_is_shown_without_secrets(url, shown):
    where = RemotePath(url)
    assert str(where) == repr(where) == f"{where}" == shown
    assert location_text(where) == url
    assert without_secrets(f"--output={url}") == f"--output={shown}"


def test_words_without_an_address_stay():
    for word in ("score", "films/a b?.png", "-o", "C:/x", "out.h5", "a//b@c"):
        assert without_secrets(word) == word


def test_a_token_with_blanks_is_no_word_of_its_own():
    assert without_secrets("https://host/my films/?sig=a b c") == "https://host/my films/"


def test_films_below_keep_the_query_and_are_encoded_on_the_web_alone():
    folder = RemotePath("https://u:p@host/films/?token=t&more=1")
    assert (folder / "ward 1/50%.png").url == "https://u:p@host/films/ward%201/50%25.png?token=t&more=1"
    assert (folder / "ward 1/50%.png").name == "50%.png"
    assert (RemotePath("s3://bucket/films") / "ward 1/50%.png").url == "s3://bucket/films/ward 1/50%.png"
    assert (RemotePath("s3://bucket") / "a.png").url == "s3://bucket/a.png"


@pytest.mark.parametrize("text", ["file:///tmp/a b.h5", "local:///tmp/a b.h5", "FILE:///tmp/a b.h5"])
def test_a_path_of_this_machine_is_a_path_however_it_is_written(text):
    assert parse_location(text) == Path("/tmp/a b.h5")
    with pytest.raises(InputError, match="is on this machine: give the path"):
        RemotePath(text)


@pytest.mark.parametrize("scheme", ["simplecache", "filecache", "blockcache", "cached", "generic", "reference", "dir"])
def test_what_leads_to_another_file_system_is_refused(scheme):
    with pytest.raises(InputError, match="leads to another file system"):
        parse_location(f"{scheme}:///tmp/a.h5")


def test_a_text_is_a_path_or_an_address():
    assert parse_location("films") == Path("films")
    assert parse_location("s3://bucket/films") == RemotePath("s3://bucket/films")
    assert parse_location(Path("films")) == Path("films")
    assert parse_location(location_text(parse_location("s3://bucket/films"))) == RemotePath("s3://bucket/films")


@pytest.mark.parametrize(
    "url", ["bucket/films", "simplecache::s3://bucket/films", "zip://*.png::s3://u:secret@bucket/x"]
)
def test_only_plain_addresses_are_taken(url):
    with pytest.raises(InputError, match="not a plain URL") as caught:
        RemotePath(url)
    assert "secret" not in str(caught.value)
