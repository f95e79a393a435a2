"""Pages of `cxrscore view`: what they show of films that are there, failed, or cannot be found."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_view import CANARY, SIDE, MadeView, film_pixels, made_view

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from cxrscore.errors import InputError
from cxrscore.remote import parse_location
from cxrscore.scorefile import open_scores
from cxrscore.scorefile.by_row import open_by_row
from cxrscore.viewer import film_files
from cxrscore.viewer.app import create_app
from cxrscore.viewer.film_files import BusyError, FilmFiles, NewestFirst, NoFilmError, eight_bits, encoded
from cxrscore.viewer.heat_maps import HeatMapSource, map_rectangle
from cxrscore.viewer.security import Access
from cxrscore.viewer.server import ViewOptions, file_names, open_viewer
from cxrscore.viewer.viewer import Viewer

HOST = "127.0.0.1:8123"
Opened = Callable[..., TestClient]


def browser(viewer: Viewer, lines: list[str] | None = None) -> TestClient:
    """A browser that has exchanged the token."""
    access = Access(hosts=[HOST])
    app = create_app(viewer, access, None if lines is None else lines.append)
    client = TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)
    assert client.get(f"/?token={access.token}").status_code == 200
    return client


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    folder = tmp_path_factory.mktemp("view")
    made = made_view(folder)
    made_view(folder, name="other.h5", shift=0.25)
    row = made.there[0]
    (folder / "boxes.csv").write_text(
        f"Image Index,Finding Label,Bbox [x,y,w,h]\n{made.paths[made.there[10]]},Mass,10,20,30,10,,,\n"
    )
    assert row > 0
    return made


@pytest.fixture(scope="module")
def viewer(made: MadeView) -> Iterator[Viewer]:
    folder = made.scores.parent
    options = ViewOptions(scores=[made.scores, folder / "other.h5"], films=made.films)
    with open_viewer(options) as found:
        yield found


@pytest.fixture(scope="module")
def client(viewer: Viewer) -> TestClient:
    return browser(viewer)


@pytest.fixture(scope="module")
def bare(made: MadeView) -> Iterator[TestClient]:
    with open_viewer(ViewOptions(scores=[made.scores])) as found:
        yield browser(found)


def test_the_list_counts_sorts_and_pages(client: TestClient, made: MadeView) -> None:
    page = client.get("/?finding=1&sort=probability&status=1").text
    whole = open_scores(made.scores)
    scored = np.flatnonzero(whole.films.status == 1)
    best = scored[np.argsort(-whole.prob[scored, 0], kind="stable")]
    found = [int(row) for row in re.findall(r'<tr id="film-(\d+)">', page)]
    assert found == best[:50].tolist()
    assert f"<b>{len(scored)}</b> of 60 films" in page
    assert 'href="/?finding=1&amp;sort=probability&amp;status=1&amp;page=2"' in page
    last = client.get("/?finding=1&sort=probability&status=1&page=99").text
    assert [int(row) for row in re.findall(r'<tr id="film-(\d+)">', last)] == best[50:].tolist()


@pytest.mark.parametrize(
    ("page", "expected"),
    [("1", ["2 Next", "6 Last"]), ("2", ["1 Previous", "3 Next", "6 Last"]), ("6", ["1 First", "5 Previous"])],
)
def test_the_first_and_the_last_page_are_one_step_away(
    page: str, expected: list[str], client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrscore.viewer.list_page.ROWS", 10)
    links = re.findall(r'<a (?:rel="\w+" )?href="/\?(?:page=)?(\d*)">(\w+) page</a>', client.get(f"/?page={page}").text)
    assert [f"{number or 1} {word}" for number, word in links] == expected


def test_names_are_text_wherever_they_stand(client: TestClient, made: MadeView) -> None:
    pages = [client.get("/").text, client.get("/?page=2").text]
    pages += [client.get(f"/film/{row}").text for row in range(0, 60, 1) if "ward" in made.paths[row]][:12]
    for page in pages:
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert page.count("<script") == len(re.findall('<script src="/(view|marks).js" defer></script>', page))
        assert not re.search(r"<[^>]*onmouseover=", page.replace("&#34;", ""))
    together = "".join(pages)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in together
    assert "film[U+202E]gnp.exe" in together
    assert "{{ 7 * 7 }}{% raw %}" in together
    assert not re.search(rf'(href|src|action|name|value)="[^"]*{re.escape(CANARY)}', together)


def test_a_film_page_has_what_the_file_says(client: TestClient, made: MadeView) -> None:
    whole, row = open_scores(made.scores), made.there[3]
    page = client.get(f"/film/{row}?finding=2&sort=probability").text
    assert whole.films.sha256[row] in page
    for column, finding in enumerate(whole.findings):
        assert re.search(rf"{column + 1} {finding}</th>\s*<td.*?>{whole.prob[row, column]:.3f}<", page)
        assert f"{min(whole.prob[row, column] + 0.25, 1):.3f}" in page
    assert page.count("at or above") == int(np.nansum(whole.prob[row] >= whole.thresholds))
    assert '<option value="2" disabled>2 Mass (not in the file)</option>' in page
    order = [int(one) for one in re.findall(r'<tr id="film-(\d+)">', client.get("/?finding=2&sort=probability").text)]
    place = order.index(row)
    assert f'rel="prev" href="/film/{order[place - 1]}?finding=2&amp;sort=probability"' in page
    assert f'rel="next" href="/film/{order[place + 1]}?finding=2&amp;sort=probability"' in page


def test_the_pixels_are_those_of_the_film(client: TestClient, made: MadeView) -> None:
    for row in made.there[:2]:
        answer = client.get(f"/film/{row}/pixels")
        pixels = film_pixels(row)
        assert (answer.headers["x-width"], answer.headers["x-height"]) == (str(SIDE[1]), str(SIDE[0]))
        assert answer.headers["x-bits"] == str(8 * pixels.itemsize)
        assert answer.headers["x-same-bytes"] == "1"
        found = np.frombuffer(answer.content, pixels.dtype.newbyteorder("<")).reshape(SIDE)
        np.testing.assert_array_equal(found, pixels)
    picture = cv2.imdecode(np.frombuffer(client.get(f"/film/{row}/picture").content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == SIDE


def test_a_film_that_was_replaced_is_told(made: MadeView, tmp_path: Path) -> None:
    row, other = made.there[:2]
    place = tmp_path / made.paths[row]
    place.parent.mkdir(parents=True)
    place.write_bytes((made.films / made.paths[other]).read_bytes())
    with open_viewer(ViewOptions(scores=[made.scores], films=tmp_path)) as found:
        assert browser(found).get(f"/film/{row}/pixels").headers["x-same-bytes"] == "0"


def test_a_replaced_film_stands_for_no_scored_one(made: MadeView, tmp_path: Path) -> None:
    row, other, marks = made.there[3], made.there[4], tmp_path / "out.marks.sqlite"
    place = tmp_path / made.paths[row]
    place.parent.mkdir(parents=True)
    shutil.copyfile(made.films / made.paths[other], place)
    options = ViewOptions(scores=[made.scores], films=tmp_path, marks=marks, reader="Lee")
    with open_viewer(options) as viewer:
        client = browser(viewer)
        picture = viewer.films.picture
        if viewer.scores.thumbnail(row) is None:
            assert client.get(f"/film/{row}/thumbnail").status_code == 404
            with pytest.raises(NoFilmError):
                picture(row)
        else:
            assert picture(row) == encoded(eight_bits(viewer.scores.thumbnail(row), 1024))
        assert client.get(f"/film/{row}/pixels").headers["x-same-bytes"] == "0"
        form = {"do": "answer", "finding": "1", "answer": "yes"}
        answer = client.post(f"/film/{row}/mark", data=form, headers={"Origin": f"http://{HOST}", "X-Fragment": "1"})
        assert answer.status_code == 409
        assert "not of the film that was scored" in answer.text
        shutil.copyfile(made.films / made.paths[row], place)
        viewer.films._films_kept.clear()
        assert client.get(f"/film/{row}/pixels").headers["x-same-bytes"] == "1"
        form = {"do": "answer", "finding": "1", "answer": "yes"}
        answer = client.post(f"/film/{row}/mark", data=form, headers={"Origin": f"http://{HOST}", "X-Fragment": "1"})
        assert answer.status_code == 200


def test_a_film_is_sent_in_pieces_without_a_copy(client: TestClient, made: MadeView, monkeypatch) -> None:
    monkeypatch.setattr("cxrscore.viewer.film_page.PIECE", 100)
    row = made.there[0]
    answer, head = client.get(f"/film/{row}/pixels"), client.head(f"/film/{row}/pixels")
    assert len(answer.content) == int(answer.headers["content-length"]) == int(head.headers["content-length"])
    assert head.content == b""
    assert {**head.headers} == {**answer.headers}


def test_thumbnails_come_from_the_file_or_from_the_film(client: TestClient, bare: TestClient, made: MadeView) -> None:
    for one, row, side in ((bare, 2, 96), (client, made.there[5], 96)):
        data = one.get(f"/film/{row}/thumbnail")
        assert data.headers["content-type"] == "image/jpeg"
        pixels = cv2.imdecode(np.frombuffer(data.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == (side, side)
    assert abs(int(cv2.imdecode(np.frombuffer(bare.get("/film/2/thumbnail").content, np.uint8), 0).mean()) - 77) <= 1
    missing = bare.get(f"/film/{made.there[5]}/thumbnail")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "image/svg+xml")
    assert "no picture" in missing.text


def test_a_map_is_that_of_the_file_on_the_scale_of_its_finding(client: TestClient, made: MadeView) -> None:
    whole, row = open_scores(made.scores), made.there[4]
    found = client.get(f"/film/{row}/map/3").json()
    of = whole.heat_maps.finding == 2
    mine = whole.heat_maps.map[of & (whole.heat_maps.film == row)][0].astype(np.float32)
    scale = whole.heat_maps.map[of].max().astype(np.float32)
    assert f"{100 * mine.max() / scale:.0f} % of the strongest map of Hernia" in found["words"]
    assert f"Scale 0 to {scale:.3g}" in found["words"]
    assert found["place"] == [0, 0, SIDE[1], SIDE[0]]
    data = base64.b64decode(found["layer"].removeprefix("data:image/png;base64,"))
    layer = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert layer.shape == (320, 320, 4)
    strongest = np.unravel_index(mine.argmax(), mine.shape)
    y, x = (int((place + 0.5) * 320 / side) for place, side in zip(strongest, mine.shape, strict=True))
    assert layer[y, x, 3] > 0.9 * layer[..., 3].max()


def test_a_map_that_is_not_there_says_what_to_do(client: TestClient, made: MadeView) -> None:
    answer = client.get(f"/film/{made.there[4]}/map/2")
    assert answer.status_code == 404
    assert "--model" in answer.text
    assert "--heatmaps" in answer.text
    assert client.get(f"/film/{made.there[4]}/map/4").status_code == 404
    assert client.get(f"/film/{made.there[4]}/map/0").status_code == 404


def test_a_film_that_failed_says_why(client: TestClient) -> None:
    page = client.get("/film/7").text
    assert "Not scored (DAMAGED): ends after 7 bytes — damaged." in page


def test_films_that_cannot_be_found_say_what_to_do(client: TestClient, bare: TestClient, made: MadeView) -> None:
    gone = next(row for row in range(1, 60) if row % 7 and row not in made.there)
    answer = client.get(f"/film/{gone}/pixels")
    assert answer.status_code == 404
    assert "Is --films the folder that was scored?" in answer.text
    assert made.paths[gone] not in answer.text
    answer = bare.get("/film/1/pixels")
    assert (answer.status_code, "--films" in answer.text) == (404, True)
    page = bare.get("/film/2").text
    assert "so only the thumbnail of the scores file is shown" in page
    assert 'src="/film/2/picture"' in page
    assert bare.get("/film/2/picture").status_code == 200


def test_another_folder_than_the_scored_one_is_told_on_the_list(made: MadeView, tmp_path: Path, client) -> None:
    (tmp_path / "films").mkdir()
    for folder in (tmp_path / "films", made.films / "ward 1"):
        with open_viewer(ViewOptions(scores=[made.scores], films=folder)) as found:
            assert "None of the first 5 films with scores is in the folder of --films." in browser(found).get("/").text
    assert "in the folder of --films" not in client.get("/").text


def test_files_of_the_same_name_can_be_told_apart() -> None:
    assert file_names([Path("a/out.h5"), Path("b/out.h5"), Path("b/new.h5")]) == ["a/out.h5", "b/out.h5", "new.h5"]
    assert file_names([Path("x/a/out.h5"), Path("y/a/out.h5")]) == ["out.h5 (1)", "out.h5 (2)"]
    remote = parse_location("https://server.example/a/out.h5")
    assert file_names([remote, Path("b/out.h5")]) == ["out.h5 (1)", "b/out.h5"]


def test_a_search_goes_by_post_and_leaves_no_text_in_the_address(client: TestClient) -> None:
    answer = client.post("/search", data={"text": CANARY, "finding": "2"}, headers={"Origin": f"http://{HOST}"})
    assert answer.status_code == 303
    assert re.fullmatch(r"/\?finding=2&search=[0-9a-f]{16}", answer.headers["location"])
    page = client.get(answer.headers["location"]).text
    assert "<b>1</b> of 60 films" in page
    assert f'value="{CANARY}"' in page


def test_boxes_of_readers_are_on_the_page(made: MadeView) -> None:
    row = next(row for row in made.there if "Doe" not in made.paths[row] and "<" not in made.paths[row])
    table = made.scores.parent / "own.csv"
    lines = ["Image Index,Finding Label,Bbox [x,y,w,h],,,", f"{made.paths[row]},Mass,10,20,30,10,,,"]
    table.write_text("\n".join(lines).replace("Bbox [x,y,w,h],,,", "Bbox [x,y,w,h]") + "\n")
    with open_viewer(ViewOptions(scores=[made.scores], films=made.films, bounding_boxes=table)) as found:
        page = browser(found).get(f"/film/{row}").text
    data = re.search(r'data-boxes="([^"]*)"', page)
    assert data
    told = json.loads(data[1].replace("&#34;", '"'))
    assert told == [{"finding": 2, "x": 10, "y": 20, "width": 30, "height": 10}]
    assert "Boxes of readers" in page


class StubModel:
    """Computes a map with one place of evidence; fails for one finding."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, str]] = []

    def explain(self, film: Path, finding: str) -> np.ndarray:
        self.asked.append((film, finding))
        if finding == "Hernia":
            raise InputError(f"{film} has no result")
        return np.array([[0.0, 0.5], [-1.0, 0.0]], np.float32)


def test_a_model_computes_the_maps_that_the_file_does_not_have(made: MadeView) -> None:
    row = made.there[4]
    with open_by_row(made.scores) as scores:
        films, model = FilmFiles(scores, made.films), StubModel()
        source = HeatMapSource(scores, films, model)  # type: ignore[arg-type]
        assert "Map of the scores file" in source.film_map(row, 0).words
        assert model.asked == []
        for _ in range(2):  # the second time it is kept
            found = source.film_map(row, 1)
            assert "Map computed now. Its largest value is 100 % of the strongest map of Mass" in found.words
            assert "Scale 0 to 0.5" in found.words
        assert model.asked == [(made.films / made.paths[row], "Mass")]
        failed = next(row for row in range(0, 60, 7) if not scores.mapped_findings(row))
        with pytest.raises(film_files.NoFilmError, match="The map of Hernia cannot be computed") as told:
            source.film_map(failed, 2)
        assert "png" not in str(told.value)
        films.close()


def test_where_a_map_lies_on_a_film_of_300_by_200() -> None:
    assert map_rectangle(300, 200, "stretch") == (0, 0, 300, 200)
    assert map_rectangle(300, 200, "crop") == (50, 0, 200, 200)
    assert map_rectangle(300, 200, "pad") == (0, -50, 300, 300)


def test_a_path_that_leads_out_of_the_folder_is_not_opened(tmp_path: Path) -> None:
    class Named:
        path = ("../secret.png", "/etc/passwd", "a/../../b.png", "0" * 64, "row 3", "zip.zip/a.png")
        status = np.ones(6, np.uint8)

    (tmp_path / "secret.png").write_bytes(b"")
    films = FilmFiles(Named(), tmp_path / "films")  # type: ignore[arg-type]
    for row, words in enumerate(["leads out"] * 3 + ["--anonymize-paths"] * 2):
        with pytest.raises(film_files.NoFilmError, match=words):
            films.location(row)
    (tmp_path / "zip.zip").write_bytes(b"PK")
    assert FilmFiles(Named(), tmp_path / "zip.zip").location(5) == tmp_path / "zip.zip" / "a.png"  # type: ignore[arg-type]


def test_more_than_a_few_waiting_films_are_refused(made: MadeView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_files, "WAITING", 1)
    with open_viewer(ViewOptions(scores=[made.scores], films=made.films)) as found:
        client = browser(found)
        with found.films._place():
            answer = client.get(f"/film/{made.there[0]}/pixels")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get(f"/film/{made.there[0]}/pixels").status_code == 200


def test_the_newest_waits_least_and_the_oldest_of_too_many_is_refused() -> None:
    turns, done, refused = NewestFirst(1, waiting=3), [], []

    def ask(number: int) -> None:
        try:
            with turns.turn():
                done.append(number)
        except BusyError:
            refused.append(number)

    with ThreadPoolExecutor(5) as pool, turns.turn():
        for number in range(5):
            pool.submit(ask, number)
            with turns._changed:
                assert turns._changed.wait_for(lambda: len(turns._queue) + len(refused) == number + 1, 60)  # noqa: B023
    assert (done, refused) == ([4, 3, 2], [0, 1])


def test_what_is_kept_of_films_stays_below_its_limit(made: MadeView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_files, "KEPT_BYTES", 3 * SIDE[0] * SIDE[1])
    with open_viewer(ViewOptions(scores=[made.scores], films=made.films)) as found:
        for row in made.there[:4]:
            found.films.film(row)
        assert sum(one.pixels.nbytes for one in found.films._films_kept.values()) <= 3 * SIDE[0] * SIDE[1]


def test_a_film_that_is_asked_for_twice_at_once_is_decoded_once(
    made: MadeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_viewer(ViewOptions(scores=[made.scores], films=made.films)) as found:
        sound, asked = found.films._pool.load_whole, []

        def counted(path: Path, longest: int) -> object:
            asked.append(path)
            return sound(path, longest)

        monkeypatch.setattr(found.films._pool, "load_whole", counted)
        with ThreadPoolExecutor(4) as pool:
            films = list(pool.map(found.films.film, [made.there[0]] * 4))
        assert len(asked) == 1
        assert all(film is films[0] for film in films)


def test_wrong_options_are_named(made: MadeView, tmp_path: Path) -> None:
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"no model")
    wrong = {
        "--films": ViewOptions(scores=[made.scores], model=[other]),
        "SHA-256 differs": ViewOptions(scores=[made.scores], model=[other], films=made.films),
        "no folder or archive": ViewOptions(scores=[made.scores], films=tmp_path / "none"),
        "at most 8": ViewOptions(scores=[made.scores] * 9),
    }
    for words, options in wrong.items():
        with pytest.raises(InputError, match=words), open_viewer(options):
            pass
