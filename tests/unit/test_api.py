"""The Python API: what a Classifier gives equals what `cxrscore score` writes, for files and for arrays."""

import gc
import pickle
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from made_models import FINDINGS, made_films, made_model
from sklearn.metrics import roc_auc_score

import cxrscore
from cxrscore.contract import ModelSpec
from cxrscore.errors import BackendUnavailableError, FilmWarning, InputError
from cxrscore.images import decode_film
from cxrscore.subprocesses import child_environment

NAMES = [f"{number:03}.png" for number in range(6)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """films/, models a and b (larger), and the scores and heat maps of a, b and both together."""
    folder = tmp_path_factory.mktemp("api")
    made_films(folder / "films")
    made_model(folder / "a", 1)
    line = {"method": "platt", "slope": [2.0, 0.5], "intercept": [0.5, -1.0], "fitted_on": "valid"}
    made_model(folder / "b", 2, size=48, calibration=line)
    return folder


@pytest.fixture(scope="module")
def classifier(home):
    with cxrscore.load(str(home / "a"), backend="torch", device="cpu", batch_size=4, workers=2) as found:
        yield found


@pytest.fixture(scope="module")
def scores(home):
    return scored(home, "a")


def scored(home, *names):
    output = home / f"{''.join(names)}.h5"
    cxrscore.score(
        home / "films", output, model=[str(home / name) for name in names], backend="torch", device="cpu", batch_size=4
    )
    return cxrscore.open_scores(str(output))


def paths(home):
    return [home / "films" / name for name in NAMES]


def pixels(home):
    return [decode_film(path.read_bytes()).pixels for path in paths(home)]


def test_probabilities_are_those_of_a_scores_file(home, classifier, scores):
    every = [str(home / "films" / path) for path in scores.films.path]
    found = classifier.predict_proba(every)
    np.testing.assert_allclose(found, scores.prob, atol=1e-6)
    np.testing.assert_array_equal(found.status, scores.films.status)
    assert found.message == scores.films.message
    assert found.shape == (7, 2)
    assert found.dtype == np.float32
    broken = scores.films.path.index("broken.png")
    assert np.isnan(found[broken]).all()
    assert found.status[broken] == cxrscore.Status.NOT_AN_IMAGE


@pytest.mark.parametrize("backend", ["keras", "openvino"])
def test_every_backend_gives_what_it_scores(home, backend):
    """In a process of its own, as one process uses one framework."""
    program = f"""
import numpy as np, cxrscore
films = [{", ".join(repr(str(path)) for path in paths(home))}]
cxrscore.score({str(home / "films")!r}, {str(home / backend)!r}, model={str(home / "a")!r}, backend={backend!r})
expected = cxrscore.open_scores({str(home / backend)!r})
clf = cxrscore.load({str(home / "a")!r}, backend={backend!r})
rows = [expected.films.path.index(film.rpartition("/")[2]) for film in films]
assert np.abs(clf.predict_proba(films) - expected.prob[rows]).max() <= 1e-6
assert clf.features(films).shape[0] == len(films)
assert clf.explain(films[0], "Mass").ndim == 2
"""
    done = subprocess.run([sys.executable, "-c", program], env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_ensemble_gives_the_mean_of_a_scores_file(home):
    wanted = scored(home, "a", "b")
    found = cxrscore.load([home / "a", home / "b"], backend="torch", device="cpu", batch_size=4)
    rows = [wanted.films.path.index(name) for name in NAMES]
    np.testing.assert_allclose(found.predict_proba(paths(home)), wanted.prob[rows], atol=1e-6)
    with pytest.raises(InputError, match="ensemble of 2 models has no common features"):
        found.features(paths(home))
    found.close()


def test_one_film_gives_a_dict_and_several_a_list(home, classifier):
    one = classifier.predict(str(paths(home)[0]))
    assert tuple(one) == classifier.findings == FINDINGS
    several = classifier.predict(paths(home))
    assert len(several) == len(NAMES)
    assert several[0] == pytest.approx(one, abs=1e-6)
    assert all(isinstance(value, float) for value in one.values())


def test_a_decoded_film_gives_what_its_file_gives(home, classifier):
    wanted, films = np.asarray(classifier.predict_proba(paths(home))), pixels(home)
    for same in (films, np.stack(films), [film.astype(np.float32) / 255 for film in films]):
        np.testing.assert_array_equal(classifier.predict_proba(same), wanted)
    colour = np.repeat(np.stack(films)[..., None], 3, axis=3)
    np.testing.assert_array_equal(classifier.predict_proba(colour), wanted)
    np.testing.assert_array_equal(classifier.predict_proba(colour[0]), wanted[:1])
    alpha = np.full((*films[0].shape, 1), 7, np.uint8)
    np.testing.assert_array_equal(classifier.predict_proba(np.concatenate([colour[0], alpha], axis=2)), wanted[:1])
    np.testing.assert_array_equal(classifier.predict_proba(films[0].T.copy().T), wanted[:1])


def test_sixteen_bits_and_floats_are_the_same_grey(home, classifier):
    film = pixels(home)[0]
    wanted = classifier.predict_proba(film)
    deep = film.astype(np.uint16) * 257
    np.testing.assert_allclose(classifier.predict_proba(deep), wanted, atol=1e-2)
    np.testing.assert_array_equal(classifier.predict_proba(deep.astype(">u2")), classifier.predict_proba(deep))
    rng = np.random.default_rng(1)
    fine = rng.integers(0, 65536, (60, 50), np.uint16)
    np.testing.assert_array_equal(classifier.predict_proba(fine / 65535), classifier.predict_proba(fine))


def test_a_sixteen_bit_file_equals_its_array(home, classifier, tmp_path):
    film = np.random.default_rng(3).integers(0, 65536, (70, 60), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), film)
    np.testing.assert_array_equal(classifier.predict_proba(tmp_path / "deep.png"), classifier.predict_proba(film))


def test_files_and_arrays_of_any_size_may_be_mixed(home, classifier):
    other = np.random.default_rng(2).integers(0, 256, (90, 33), np.uint8)
    found = classifier.predict_proba([paths(home)[0], other, np.zeros((60, 50), np.uint8), pixels(home)[0]])
    assert found.status.tolist() == [1, 1, int(cxrscore.Status.BLANK), 1]
    np.testing.assert_allclose(found[0], found[3], atol=1e-7)
    assert np.isnan(found[2]).all()


def test_arrays_of_objects_such_as_columns_of_a_table_name_files(home, classifier):
    names = np.array([str(path) for path in paths(home)], object)
    np.testing.assert_array_equal(classifier.predict_proba(names), classifier.predict_proba(paths(home)))
    np.testing.assert_array_equal(classifier.predict_proba(iter(paths(home))), classifier.predict_proba(paths(home)))


@pytest.mark.parametrize("nothing", [[], (), np.zeros((0, 64, 64), np.uint8), np.array([], float)])
def test_no_films_give_no_rows(classifier, nothing):
    assert classifier.predict(nothing) == []
    assert classifier.predict_proba(nothing).shape == (0, 2)
    assert classifier.features(nothing).shape == (0, classifier.features(np.eye(64)).shape[1])
    assert classifier.explain(nothing, "Mass").shape[0] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((64, 64), np.int32), "type int32, expected uint8"),
        (np.zeros((64, 64), bool), "type bool, expected uint8"),
        (np.full((64, 64), 2.0), "values from 2 to 2, expected 0.0"),
        (np.full((64, 64), np.nan), "values from nan to nan"),
        (np.full((64, 64), -0.1), "values from -0.1"),
        (np.zeros(64, np.uint8), r"shape \[64\], expected a path, or an array \[H,W\]"),
        (np.zeros((2, 3, 64, 64), np.uint8), "the colours come last"),
        (np.zeros((2, 2, 64, 64, 3), np.uint8), "expected a path"),
        ([np.zeros((2, 64, 64), np.uint8)], "holds several films"),
        ([[0.5, 0.5]], r"film 0 of the list \(counted from 0\): it is of type list"),
        (7, "films are of type int"),
        (b"bytes", "films are of type bytes"),
        (None, "films are of type NoneType"),
    ],
)
def test_what_is_no_film_is_refused(classifier, given, words):
    with pytest.raises(InputError, match=words):
        classifier.predict_proba(given)


def test_a_folder_is_refused_with_advice(home, classifier):
    with pytest.raises(InputError, match=r"is a folder; pass its files, or use cxrscore\.score"):
        classifier.predict(home / "films")


def test_a_single_film_without_a_result_is_an_error(home, classifier):
    for method in (classifier.predict, lambda film: classifier.explain(film, "Mass")):
        with pytest.raises(InputError, match=r"broken\.png has no result: .*NOT_AN_IMAGE"):
            method(home / "films" / "broken.png")
    assert classifier.predict_proba(home / "none.png").status[0] == cxrscore.Status.UNREADABLE
    with pytest.raises(InputError, match="the array has no result: blank"):
        classifier.predict(np.zeros((64, 64), np.uint8))
    assert np.isnan(classifier.predict([home / "films" / "broken.png"])[0]["Mass"])
    assert classifier.predict_proba([home / "films" / "broken.png"]).shape == (1, 2)


def test_heat_maps_are_those_of_a_scores_file(home, classifier, scores):
    maps = scores.heat_maps
    for name in NAMES[:2]:
        row = scores.films.path.index(name)
        for column, finding in enumerate(FINDINGS):
            (place,) = np.flatnonzero((maps.film == row) & (maps.finding == column))
            found = classifier.explain(home / "films" / name, finding)
            np.testing.assert_allclose(found, maps.map[place].astype(np.float32), rtol=1e-3, atol=1e-6)
    several = classifier.explain([*paths(home), home / "films" / "broken.png"], "Edema")
    assert several.shape == (7, *found.shape)
    assert np.isnan(several[6]).all()
    assert classifier.explain(paths(home)[0], "Edema", explainer="occlusion").shape == (10, 10)
    with pytest.raises(InputError, match="the model has no finding 'Hernia'; it has Mass, Edema"):
        classifier.explain(paths(home)[0], "Hernia")


def test_features_are_one_row_a_film(home, classifier):
    found = classifier.features([*paths(home), home / "films" / "broken.png"])
    assert found.dtype == np.float32
    assert np.isfinite(found[:6]).all()
    assert np.isnan(found[6]).all()
    np.testing.assert_allclose(classifier.features(pixels(home)[1])[0], found[1], atol=1e-6)


def test_the_result_works_as_an_array(home, classifier):
    found = classifier.predict_proba(paths(home))
    plain = np.asarray(found)
    assert type(plain) is np.ndarray
    assert type(found > 0.5) is np.ndarray
    np.testing.assert_array_equal(1 - found, 1 - plain)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(plain))
    assert found.mean() == plain.mean()
    assert found.T.shape == (2, 6)
    assert [row.tolist() for row in found] == plain.tolist()
    assert np.asarray(found, np.float64).dtype == np.float64
    truth = np.array([[0, 1], [1, 0], [0, 0], [1, 1], [0, 1], [1, 0]])
    assert roc_auc_score(truth, found) == roc_auc_score(truth, plain)
    again = pickle.loads(pickle.dumps(found))  # noqa: S301 - made a moment before
    np.testing.assert_array_equal(again, plain)
    assert again.message == found.message
    assert "0 of 6 films without a result" in repr(found)
    with pytest.raises(AttributeError):
        found.nonsense  # noqa: B018


def test_a_model_that_fails_on_a_film_is_a_status(home, classifier, monkeypatch):
    model = classifier._context.models[0]
    monkeypatch.setattr(type(model), "predict", lambda self, films: np.full((len(films), 2), np.nan, np.float32))
    found = classifier.predict_proba(paths(home)[0])
    assert found.status.tolist() == [cxrscore.Status.MODEL_FAILED]
    assert "not finite" in found.message[0]


def test_progress_is_told(home, classifier):
    told = []
    classifier.predict_proba(paths(home), progress=lambda *step: told.append(step))
    assert told == [("scoring", 4, 6), ("scoring", 6, 6)]


def test_several_threads_may_share_a_classifier(home, classifier):
    wanted, found = np.asarray(classifier.predict_proba(paths(home))), {}

    def work(number):
        found[number] = np.asarray(classifier.predict_proba(paths(home)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in found.values():
        np.testing.assert_array_equal(own, wanted)
    assert len(found) == 4


def test_decoders_end_with_the_classifier(home):
    found = cxrscore.load(home / "a", backend="torch", device="cpu", workers=1)
    found.predict(paths(home)[0])
    (decoder,) = found._decoders._pool._all
    process = decoder._process
    assert process.poll() is None
    del found
    gc.collect()
    assert process.poll() is not None


def test_a_program_without_a_main_guard_works(home, tmp_path):
    program = tmp_path / "notebook.py"
    program.write_text(
        "import cxrscore\n"
        f"clf = cxrscore.load({str(home / 'a')!r}, backend='torch')\n"
        f"print(clf.predict({str(paths(home)[0])!r}))\n"
    )
    done = subprocess.run([sys.executable, program], env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Mass") == 1


def test_load_refuses_what_it_cannot_use(home, tmp_path):
    with pytest.raises(InputError, match="no model file is given"):
        cxrscore.load([])
    with pytest.raises(InputError, match="there is no model at"):
        cxrscore.load(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="source is a URL, expected a path"):
        cxrscore.load("https://user:secret@host/model.safetensors")
    with pytest.raises(InputError, match="source is of type int, expected a path"):
        cxrscore.load(3)
    with pytest.raises(InputError, match="batch_size is 0"):
        cxrscore.load(home / "a", batch_size=0)
    with pytest.raises(InputError, match="workers is 0"):
        cxrscore.load(home / "a", workers=0)
    with pytest.raises(BackendUnavailableError):
        cxrscore.load(home / "a", backend="no-such")


def test_auto_is_the_backend_that_score_would_choose(home):
    assert cxrscore.load(home / "a", backend="auto").backend == cxrscore.load(home / "a").backend


def test_the_classifier_says_what_it_is(home, classifier):
    assert repr(classifier).startswith("<Classifier ")
    assert "2 findings, torch" in repr(classifier)
    assert classifier.device == "cpu"
    assert isinstance(cxrscore.load_model(str(home / "a")).spec, ModelSpec)


def test_arrays_and_files_of_few_bits_give_the_same_scores_and_notes(classifier, home):
    few = [np.rint(film / 255.0 * 4095).astype(np.uint16) for film in pixels(home)[:2]]
    few += [few[0] / np.float32(65535), np.dstack([few[0]] * 3)]
    cv2.imwrite(str(home / "few.png"), few[0])
    found = classifier.predict_proba([home / "few.png", *few])
    note = "grey range taken from its pixels: 0 to 4095 of 0 to 65535"
    assert found.message == (note,) * 5
    for row in (1, 3, 4):
        np.testing.assert_array_equal(found[row], found[0])
    as_of_8_bits = classifier.predict_proba(paths(home)[:1])
    np.testing.assert_allclose(found[0], as_of_8_bits[0], atol=2e-3)


def test_predict_warns_of_notes_that_it_has_no_place_for(classifier, home):
    few = np.rint(pixels(home)[0] / 255.0 * 4095).astype(np.uint16)
    with pytest.warns(FilmWarning, match=r"notes on 1 film: grey range .* \(1\), such as an array; predict_proba"):
        classifier.predict(few)
