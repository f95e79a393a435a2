"""Scores files made by an enemy: refused before anything outside of them, or more than they hold, is read."""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from made_run import made_file
from opened import assert_stays_within, told_what_is_opened

from cxrscore.errors import FileFormatError
from cxrscore.scorefile import open_scores
from cxrscore.scorefile.columns import write_text
from cxrscore.scorefile.layout import LAYOUT

PROB = "scores/prob"
SHAPE = (150, 3)


def _replaced(file: Any, name: str = PROB, **options: Any) -> Any:
    """A new dataset in place of one, with other properties."""
    old = file[name]
    options = {"shape": old.shape, "dtype": old.dtype, **options}
    del file[name]
    return file.create_dataset(name, **options)


def external_link(file: Any, canary: Path) -> None:
    del file[PROB]
    file[PROB] = h5py.ExternalLink(str(canary), "secret")


def soft_link(file: Any, canary: Path) -> None:
    del file[PROB]
    file[PROB] = h5py.SoftLink("/scores/logit")


def external_link_in_place_of_a_group(file: Any, canary: Path) -> None:
    del file["cam"]
    file["cam"] = h5py.ExternalLink(str(canary), "/")


def external_storage(file: Any, canary: Path) -> None:
    _replaced(file, external=[(str(canary), 0, 4 * 150 * 3)])


def virtual(file: Any, canary: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, np.float32)
    layout[:] = h5py.VirtualSource(str(canary), "secret", SHAPE)
    del file[PROB]
    file.create_virtual_dataset(PROB, layout)


def second_name(file: Any, canary: Path) -> None:
    del file[PROB]
    file[PROB] = file["scores/logit"]


def newer_group(file: Any, canary: Path) -> None:
    """Of a kind on which libhdf5 1.14 crashes if it is damaged."""
    del file["cam"]
    file.create_group("cam", track_order=True)


def newer_dataset(file: Any, canary: Path) -> None:
    """With a head of another kind, as one gets by keeping the order of its attributes."""
    del file[PROB]
    file.create_dataset(PROB, SHAPE, "<f4", track_order=True)


def loop(file: Any, canary: Path) -> None:
    file["films/again"] = file["/"]


def shape_bomb(file: Any, canary: Path) -> None:
    _replaced(file, shape=(1 << 38, 3), chunks=(1 << 16, 3), compression="gzip")


def chunk_bomb(file: Any, canary: Path) -> None:
    _replaced(file, chunks=(1 << 27, 3), maxshape=(None, 3), compression="gzip")


def text_bomb(file: Any, canary: Path) -> None:
    _replaced(file, "films/message", dtype=h5py.string_dtype("utf-8", 1 << 30))


def unknown_filter(file: Any, canary: Path) -> None:
    _replaced(file, chunks=SHAPE, compression="lzf")


def short_chunk(file: Any, canary: Path) -> None:
    """libhdf5 returns what lies behind it in memory, or crashes."""
    dataset = _replaced(file, chunks=SHAPE, compression="gzip")
    dataset.id.write_direct_chunk((0, 0), zlib.compress(b"only a little"))


def wide_floats(file: Any, canary: Path) -> None:
    _replaced(file, dtype=np.float64)


def big_endian(file: Any, canary: Path) -> None:
    _replaced(file, dtype=">f4")


def texts_of_any_length(file: Any, canary: Path) -> None:
    _replaced(file, "films/path", dtype=h5py.string_dtype())


def references(file: Any, canary: Path) -> None:
    _replaced(file, "cam/film", dtype=h5py.ref_dtype)


def no_values(file: Any, canary: Path) -> None:
    del file[PROB]
    file[PROB] = h5py.Empty("f4")


def named_type(file: Any, canary: Path) -> None:
    del file[PROB]
    file[PROB] = np.dtype("f4")


def extra_dataset(file: Any, canary: Path) -> None:
    file["films/name"] = np.zeros(3)


def extra_group(file: Any, canary: Path) -> None:
    file.create_group("more")


def group_in_place_of_a_dataset(file: Any, canary: Path) -> None:
    del file["truth"]
    file.create_group("truth")


def dataset_in_place_of_a_group(file: Any, canary: Path) -> None:
    del file["cam"]
    file["cam"] = np.zeros(3)


def missing(file: Any, canary: Path) -> None:
    del file["films/status"]


def other_length(file: Any, canary: Path) -> None:
    _replaced(file, shape=(151, 3))


def other_rank(file: Any, canary: Path) -> None:
    _replaced(file, shape=(150, 3, 1))


def more_films_than_bytes(file: Any, canary: Path) -> None:
    """Of which each would take some hundred bytes in memory."""
    for column in LAYOUT:
        if column.axes[0] == "film":
            shape = (1_000_000, *file[column.path].shape[1:])
            _replaced(file, column.path, shape=shape, chunks=shape, compression="gzip")


def incomplete(file: Any, canary: Path) -> None:
    file.attrs["complete"] = False


def never_completed(file: Any, canary: Path) -> None:
    del file.attrs["complete"]


def later_version(file: Any, canary: Path) -> None:
    file.attrs["version"] = 3


def many_versions(file: Any, canary: Path) -> None:
    file.attrs["version"] = [1, 1]


def other_format(file: Any, canary: Path) -> None:
    file.attrs["format"] = np.bytes_("notes")


def number_for_format(file: Any, canary: Path) -> None:
    file.attrs["format"] = 7


def no_provenance(file: Any, canary: Path) -> None:
    del file.attrs["provenance"]


def provenance_of_any_length(file: Any, canary: Path) -> None:
    file.attrs["provenance"] = "{}"


def provenance_not_json(file: Any, canary: Path) -> None:
    file.attrs["provenance"] = np.bytes_("{")


def provenance_list(file: Any, canary: Path) -> None:
    file.attrs["provenance"] = np.bytes_("[]")


def provenance_nested(file: Any, canary: Path) -> None:
    file.attrs["provenance"] = np.bytes_('{"a":' * 10_000)


def provenance_long(file: Any, canary: Path) -> None:
    write_text(file, "provenance", json.dumps({"a": "x" * (16 << 20)}))


def probability_of_two(file: Any, canary: Path) -> None:
    file[PROB][1, 1] = 2


def negative_probability(file: Any, canary: Path) -> None:
    file[PROB][1, 1] = -np.inf


def truth_of_two(file: Any, canary: Path) -> None:
    file["truth"][1, 1] = 2


def unknown_status(file: Any, canary: Path) -> None:
    file["films/status"][3] = 15


def unknown_split(file: Any, canary: Path) -> None:
    file["films/split"][3] = 4


def threshold_of_two(file: Any, canary: Path) -> None:
    file["thresholds"][0] = 2


def map_of_no_film(file: Any, canary: Path) -> None:
    file["cam/film"][0] = 150


def map_of_a_film_before_the_first(file: Any, canary: Path) -> None:
    file["cam/film"][0] = -1


def map_of_no_finding(file: Any, canary: Path) -> None:
    file["cam/finding"][0] = 3


def thumbnail_of_no_film(file: Any, canary: Path) -> None:
    file["thumbnails/film"][0] = 150


def same_finding_twice(file: Any, canary: Path) -> None:
    file["labels"][1] = b"Effusion"


def finding_of_bytes(file: Any, canary: Path) -> None:
    old = _replaced(file, "labels")
    old[...] = np.array([b"Effusion", b"\xff", b"Hernia"], old.dtype)


def oblong_thumbnails(file: Any, canary: Path) -> None:
    _replaced(file, "thumbnails/pixels", shape=(2, 8, 9))


def empty_thumbnails(file: Any, canary: Path) -> None:
    _replaced(file, "thumbnails/pixels", shape=(2, 0, 0))


def map_without_rows(file: Any, canary: Path) -> None:
    _replaced(file, "cam/map", shape=(file["cam/map"].shape[0], 0, 5))


def map_without_columns(file: Any, canary: Path) -> None:
    _replaced(file, "cam/map", shape=(file["cam/map"].shape[0], 3, 0))


def nameless_finding(file: Any, canary: Path) -> None:
    file["labels"][1] = b""


def digest_of_letters(file: Any, canary: Path) -> None:
    file["films/sha256"][1] = b"<script>"


ATTACKS: dict[Callable[[Any, Path], None], str] = {
    external_link: r"/scores has a message of the kind link info",
    soft_link: r"/scores has prob, a soft link",
    external_link_in_place_of_a_group: r"/ has a message of the kind link info",
    external_storage: r"/scores/prob has its data in another file",
    virtual: r"/scores/prob is virtual",
    second_name: r"has two names",
    newer_group: r"/cam has a message of the kind link info|head that is not of version 1",
    newer_dataset: r"/scores/prob has a message of the kind attribute info|head that is not of version 1",
    loop: r"has two names",
    shape_bomb: r"declares 3298534883328 bytes but stores 0",
    chunk_bomb: r"declares 1610612736 bytes but stores 0",
    text_bomb: r"declares 161061273600 bytes but stores",
    unknown_filter: r"packed with filter 32000",
    short_chunk: r"/scores/prob has a chunk of 13 bytes, expected 1800",
    wide_floats: r"scores/prob is float64 of 2 dimensions, expected float32 of 2",
    big_endian: r"scores/prob is >f4 of 2 dimensions",
    texts_of_any_length: r"/films/path has texts of any length; only",
    references: r"/cam/film has references; only",
    no_values: r"/scores/prob has no values",
    named_type: r"/scores/prob is neither a group nor a dataset",
    extra_dataset: r"holds unknown films/name",
    extra_group: r"holds unknown more",
    group_in_place_of_a_dataset: r"truth is not a dataset",
    dataset_in_place_of_a_group: r"lacks cam/film, cam/finding, cam/map",
    missing: r"lacks films/status",
    other_length: r"scores/prob has length 151 along film, but films/path has 150",
    other_rank: r"scores/prob is float32 of 3 dimensions",
    more_films_than_bytes: r"declares 1000000 films in \d+ bytes",
    incomplete: r"is incomplete.*run `cxrscore score` again",
    never_completed: r"is incomplete",
    later_version: r"is of version 3, this cxrscore reads 1 and 2",
    many_versions: r"version is longer than 8 bytes",
    other_format: r"not of format cxrscore-scores",
    number_for_format: r"format is not a text",
    no_provenance: r"has no attribute provenance",
    provenance_of_any_length: r"provenance is neither numbers nor text of a fixed length",
    provenance_not_json: r"provenance is not JSON",
    provenance_list: r"provenance is not a JSON object",
    provenance_nested: r"provenance is not JSON",
    provenance_long: r"provenance is longer than",
    probability_of_two: r"scores/prob has values outside 0\.\.1",
    negative_probability: r"scores/prob has values outside 0\.\.1",
    truth_of_two: r"truth has values outside 0\.\.1",
    unknown_status: r"films/status has values outside 0\.\.14",
    unknown_split: r"films/split has values outside 0\.\.3",
    threshold_of_two: r"thresholds has values outside 0\.\.1",
    map_of_no_film: r"cam/film has values outside 0\.\.149",
    map_of_a_film_before_the_first: r"cam/film has values outside 0\.\.149",
    map_of_no_finding: r"cam/finding has values outside 0\.\.2",
    thumbnail_of_no_film: r"thumbnails/film has values outside 0\.\.149",
    same_finding_twice: r"labels must be",
    nameless_finding: r"labels must be",
    finding_of_bytes: r"labels has names that are not UTF-8",
    oblong_thumbnails: r"thumbnails/pixels is 8 x 9, expected equal sides of at least 1",
    empty_thumbnails: r"thumbnails/pixels is 0 x 0, expected equal sides of at least 1",
    map_without_rows: r"cam/map is 0 x 5, expected sides of at least 1",
    map_without_columns: r"cam/map is 3 x 0, expected sides of at least 1",
    digest_of_letters: r"films/sha256 has values that are not",
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made_file(tmp_path_factory.mktemp("honest") / "out.h5").read_bytes()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file of the reader's, large enough to serve as data, whose time of last reading is long ago."""
    path = tmp_path / "canary.h5"
    with h5py.File(path, "w") as file:
        file["secret"] = np.full(SHAPE, 0.25, np.float32)
    os.utime(path, (0, path.stat().st_mtime))
    return path


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_hostile_file_is_refused_and_the_file_it_points_to_stays_unread(
    tmp_path: Path, honest: bytes, canary: Path, attack: Callable[[Any, Path], None]
) -> None:
    path = tmp_path / "evil.h5"
    path.write_bytes(honest)
    with h5py.File(path, "r+") as file:
        attack(file, canary)
    os.utime(canary, (0, canary.stat().st_mtime))
    with told_what_is_opened() as seen, pytest.raises(FileFormatError, match=ATTACKS[attack]) as refused:
        open_scores(path)
    assert str(path) in str(refused.value)
    assert_stays_within(path, seen)
    assert canary.stat().st_atime == 0


def test_the_canary_tells_when_it_is_read(canary: Path) -> None:
    if os.statvfs(canary).f_flag & os.ST_NOATIME:
        pytest.skip("this file system does not record when files are read")
    with h5py.File(canary) as file:
        file["secret"][0]
    assert canary.stat().st_atime > 0
