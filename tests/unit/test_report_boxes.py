"""Heat maps of a scores file against a table of boxes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from report_scores import made_scores

from cxrscore.errors import InputError
from cxrscore.labels import Box
from cxrscore.reporting.boxes import SIDE, box_agreement, box_fits_film, localise, mask_of
from cxrscore.scorefile.data import HeatMaps, Scores

HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


def mapped(*maps: tuple[int, int, np.ndarray]) -> Scores:
    """Scores whose heat maps are these of (film, finding, map)."""
    film, finding, values = zip(*maps, strict=True)
    found = HeatMaps(
        map=np.array(values, np.float16), film=np.array(film, np.int32), finding=np.array(finding, np.int16)
    )
    return dataclasses.replace(made_scores(), heat_maps=found)


def boxed(folder: Path, *lines: str) -> Path:
    path = folder / "boxes.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


def quarter(row: int, column: int, value: float = 1.0) -> np.ndarray:
    """A map [8,8] that is something in one of its quarters."""
    values = np.zeros((8, 8))
    values[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = value
    return values


def test_a_map_in_its_box(tmp_path: Path) -> None:
    scores = mapped((100, 0, quarter(0, 1)), (102, 0, quarter(1, 1)), (104, 4, quarter(0, 0, -1)))
    name = scores.films.path
    path = boxed(
        tmp_path,
        f"{name[100]},Atelectasis,512,0,512,512",  # the right upper quarter of 1024
        f"{name[102]},Atelectasis,0,0,512,512",  # not where the map is
        f"{name[104]},Mass,0,0,1024,512",
        f"{name[106]},Mass,0,0,10,10",  # no map
        "elsewhere.png,Mass,0,0,10,10",
        f"{name[108]},Mass,1000,0,200,10",  # not on this film
    )
    found = localise(scores, path, "out.h5")
    first, second = found.findings
    assert (found.boxes, found.unused, found.unmapped) == (6, 2, 1)
    assert (first.finding, first.films, first.empty) == ("Atelectasis", 2, 0)
    assert first.pointing.value == pytest.approx(0.5)
    assert first.energy.value == pytest.approx(0.5, abs=0.06)  # the enlarged map passes the edge a little
    assert first.chance == pytest.approx(0.25)
    assert (second.finding, second.empty, second.pointing.value, second.energy.value) == ("Mass", 1, 0, 0)
    assert (found.together.films, found.together.chance) == (3, pytest.approx((0.25 + 0.25 + 0.5) / 3))
    assert found.as_dict()["findings"][-1]["finding"] == "All"
    assert {pair: len(own) for pair, own in found.drawn.items()} == {(100, 0): 1, (102, 0): 1, (104, 4): 1, (106, 4): 1}


def test_boxes_of_one_finding_are_taken_together(tmp_path: Path) -> None:
    scores = mapped((100, 0, np.ones((4, 4))))
    name = scores.films.path[100]
    path = boxed(tmp_path, f"{name},Atelectasis,0,0,512,512", f"{name},Atelectasis,512,512,512,512")
    (one,) = localise(scores, path, "out.h5").findings
    assert (one.films, one.chance) == (1, pytest.approx(0.5))
    assert (one.pointing.value, one.energy.value, one.overlap.value) == (pytest.approx(0.5),) * 3


def test_films_that_the_model_had_seen_are_left_out(tmp_path: Path) -> None:
    scores = mapped((2, 0, quarter(0, 0)), (42, 0, quarter(0, 0)), (100, 0, quarter(1, 1)))
    name = scores.films.path  # film 2 is of training, 42 of validation, 100 of test
    path = boxed(tmp_path, *(f"{name[film]},Atelectasis,0,0,512,512" for film in (2, 42, 100)))
    found = localise(scores, path, "out.h5")
    assert (found.together.films, found.together.pointing.value) == (1, 0)
    assert (found.left_out, found.seen, found.unmapped) == (2, False, 0)
    scores.films.split[:] = 1
    found = localise(scores, path, "out.h5")
    assert (found.together.films, found.left_out, found.seen) == (3, 0, True)
    assert found.as_dict()["includes_training_films"] is True


def test_a_map_against_the_boxes_of_its_film() -> None:
    boxes = [Box(film="", finding="", x=x, y=0, width=50, height=50) for x in (0, 50)]
    found = box_agreement(quarter(0, 1).astype(np.float32), boxes, 100, 100)
    assert (found.pointing, found.area) == (1, 0.5)
    assert found.energy == pytest.approx(1, abs=0.07)  # the enlarged map passes the edge a little
    found = box_agreement(np.ones((4, 4), np.float32), boxes[:1], 100, 100)
    assert (found.pointing, found.energy, found.area) == (0.25, 0.25, 0.25)


def test_masks_by_hand() -> None:
    mask = mask_of(Box(film="", finding="", x=50, y=0, width=50, height=25), width=100, height=200)
    assert mask.sum() == SIDE // 2 * SIDE // 8
    assert mask[: SIDE // 8, SIDE // 2 :].all()
    assert mask_of(Box(film="", finding="", x=99.9, y=199.9, width=0.1, height=0.1), width=100, height=200).sum() == 1


@pytest.mark.parametrize(("x", "wanted"), [(0, True), (50.5, True), (52, False), (-0.5, True), (-2, False)])
def test_boxes_off_the_film(x: float, wanted: bool) -> None:
    assert box_fits_film(Box(film="", finding="", x=x, y=0, width=50, height=50), 100, 100) is wanted


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    scores = mapped((100, 0, np.ones((4, 4))))
    path = boxed(tmp_path, "elsewhere.png,Mass,0,0,10,10")
    with pytest.raises(InputError, match=r"none of the 1 boxes of .* lies on a scored film of out.h5"):
        localise(scores, path, "out.h5")
    scores.provenance["models"][0]["document"]["preprocessing"]["fit"] = "pad"
    with pytest.raises(InputError, match="were fitted by pad"):
        localise(scores, path, "out.h5")
    private = dataclasses.replace(scores, films=dataclasses.replace(scores.films, path=scores.films.sha256))
    with pytest.raises(InputError, match="--anonymize-paths"):
        localise(private, path, "out.h5")
