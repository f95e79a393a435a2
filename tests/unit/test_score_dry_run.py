"""A dry run counts films by kind, modality and view, whatever the files hold, and reads no pixels."""

import pytest

pytest.importorskip("pydicom")
from corpus_bytes import DEFLATED, archive, chest, dicom, png

from cxrscore.errors import InputError
from cxrscore.images.decode import read_header
from cxrscore.images.dicom import HEADER_BYTES
from cxrscore.scoring.dry_run import FilmCount, FilmCounts, count_films, other_files_sentence

FILES = {
    "a.dcm": dicom(ViewPosition="PA"),
    "b.dcm": dicom(ViewPosition="PA"),
    "c": dicom(Modality="CR", ViewPosition="CANARY"),
    "cut.dcm": dicom(ViewPosition="PA")[:500],
    "deflated.dcm": dicom(syntax=DEFLATED, ViewPosition="AP"),
    "d.png": png(chest()),
    "broken.png": b"no film",
    "e.csv": b"x,y",
    "f.zip": archive({"in.dcm": dicom(Modality="CR", ViewPosition="AP")}),
}


@pytest.mark.slow
def test_films_of_a_folder_are_counted_by_their_headers(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    steps = []
    counts = count_films(tmp_path, workers=1, progress=lambda *step: steps.append(step))
    assert counts.counts == (
        FilmCount(kind="dicom", modality="DX", view="PA", films=3),
        FilmCount(kind="dicom", modality="CR", view="AP", films=1),
        FilmCount(kind="dicom", modality="CR", view="unknown", films=1),
        FilmCount(kind="dicom", modality="DX", view="AP", films=1),
        FilmCount(kind="png", modality="", view="", films=1),
        FilmCount(kind="unknown", modality="", view="", films=1),
    )
    assert (counts.n_films, other_files_sentence(counts)) == (8, "1 other file: 1 .csv (not opened)")
    assert steps[-1] == ("reading headers", 8, 8)


def test_the_table_for_people():
    counts = (FilmCount(kind="dicom", modality="DX", view="unknown", films=1200),)
    assert FilmCounts(n_films=1200, counts=counts).lines() == [
        "kind   modality  view     films",
        "dicom  DX        unknown  1,200",
        "all                       1,200",
    ]


def test_of_a_large_film_only_the_start_is_read(tmp_path):
    (tmp_path / "large.dcm").write_bytes(dicom(ViewPosition="PA") + bytes(2 * HEADER_BYTES))
    film = read_header(tmp_path / "large.dcm")
    assert (film.kind, film.modality, film.view, film.sha256) == ("dicom", "DX", "PA", "")


def test_with_no_paths_no_file_is_named(tmp_path):
    (tmp_path / "canary.dcm").symlink_to("nowhere")
    assert count_films(tmp_path).unreadable_paths == ("canary.dcm could not be read",)
    hidden = count_films(tmp_path, anonymize_paths=True)
    assert hidden.unreadable_paths == ("1 files or folders could not be read",)


def test_a_folder_takes_no_query(tmp_path):
    with pytest.raises(InputError, match="--query chooses films of a PACS"):
        count_films(tmp_path, query="Modality=DX")
