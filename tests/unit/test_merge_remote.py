"""Parts that lie in a bucket, and a merged file that is put there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_parts import differing, made_part, three, with_three

from cxrscore.errors import InputError
from cxrscore.merge import MergeOptions, merge_scores
from cxrscore.remote import RemotePath
from cxrscore.scorefile import Partition

FILMS = 200


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_three(tmp_path, FILMS)


@pytest.fixture
def cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket that holds the parts."""
    pytest.importorskip("obstore")
    from servers import bucket

    from cxrscore.remote import obstore_store

    obstore_store._opened.cache_clear()
    with bucket() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.objects = {f"scores/{part.name}": part.read_bytes() for part in three(home)}
        yield server


def far(*names: str) -> tuple[RemotePath, ...]:
    return tuple(RemotePath(f"s3://scores/{name}") for name in names)


def test_parts_in_a_bucket_are_merged_there(home: Path, cloud: Any) -> None:
    parts, (output,) = far("part-1.h5", "part-2.h5", "part-3.h5"), far("out.h5")
    for _ in range(2):  # the second time what is there is of the same run
        result = merge_scores(MergeOptions(partial_files=parts, output=output))
        assert (str(result.output), result.merged_files, result.films) == ("s3://scores/out.h5", 3, FILMS)
    (home / "back.h5").write_bytes(cloud.objects["scores/out.h5"])
    assert differing(home / "back.h5", home / "whole.h5") == {"@provenance"}


def test_another_run_in_the_bucket_is_not_replaced(home: Path, cloud: Any) -> None:
    other = made_part(home / "other.h5", FILMS, Partition(number=1, count=1), batch_size=99).read_bytes()
    cloud.objects["scores/out.h5"] = other
    parts, (output,) = far("part-1.h5", "part-2.h5", "part-3.h5"), far("out.h5")
    with pytest.raises(InputError, match=r"^s3://scores/out\.h5 is of another run"):
        merge_scores(MergeOptions(partial_files=parts, output=output))
    assert cloud.objects["scores/out.h5"] == other
    merge_scores(MergeOptions(partial_files=parts, output=output, overwrite=True))
    assert cloud.objects["scores/out.h5"] != other


def test_errors_of_parts_elsewhere_name_their_address(home: Path, cloud: Any) -> None:
    cloud.objects["scores/part-2.h5"] = b"no part"
    with pytest.raises(InputError, match=r"s3://scores/part-2\.h5"):
        merge_scores(MergeOptions(partial_files=far("part-1.h5", "part-2.h5", "part-3.h5"), output=home / "out.h5"))
    with pytest.raises(InputError, match="without --virtual"):
        merge_scores(MergeOptions(partial_files=far("part-1.h5"), output=home / "out.h5", virtual=True))
    assert not (home / "out.h5").exists()
