"""What the Python API is given in error: each is one clear error, and nothing is scored by a wrong reading of it."""

import copy
import os
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from made_models import made_films, made_model
from made_run import made_file
from PIL import Image

import cxrscore
from cxrscore.errors import InputError
from cxrscore.scorefile import Partition
from cxrscore.scoring import ScoreOptions
from cxrscore.training import TrainOptions

GREY = np.random.default_rng(0).integers(0, 256, (70, 64), np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arguments")
    made_films(folder / "films")
    made_model(folder / "a", 1)
    return folder


@pytest.fixture(scope="module")
def classifier(home):
    with cxrscore.load(home / "a", backend="torch", device="cpu", batch_size=4, workers=2) as found:
        yield found


def closed_image():
    image = Image.fromarray(GREY)
    image.close()
    return image


@pytest.mark.parametrize(
    ("films", "words"),
    [
        (np.ma.masked_greater(GREY, 250), r"masked pixels.*\.filled\(0\)"),
        (np.stack([GREY, GREY], axis=2), r"of grey and transparency pass the grey"),
        (GREY.astype(object), "one column of paths"),
        (pd.DataFrame({"path": ["a.png"], "age": [3]}), r"one column of paths, such as frame\['path'\]"),
        (pd.Series(["a.png", None]), r"film 1 of the list \(counted from 0\): it is of type"),
        ([GREY, 3], r"film 1 of the list \(counted from 0\): it is of type int, expected a path or an array"),
        (memoryview(GREY), "films are of type memoryview"),
        (str, "films are of type type"),
        ("", "an empty text, expected a path"),
        ("a\0b.png", "zero character"),
        (GREY.astype(float), "scale it first, such as with film / 255"),
        (np.full((64, 64), 1.0000002), "from 1.0000002 to 1.0000002"),
        (Image.new("P", (64, 64)), r"mode P, expected L, RGB, RGBA or I;16: convert it with \.convert\('L'\)"),
        (Image.new("CMYK", (64, 64)), "mode CMYK"),
        (Image.new("LA", (64, 64)), "mode LA"),
        (closed_image(), "type Image cannot be converted to a NumPy array"),
        (torch.zeros(64, 64, requires_grad=True), r"type Tensor cannot be converted.*tensor\.detach\(\)"),
        (torch.zeros(64, 64, dtype=torch.bfloat16), r"type Tensor cannot be converted.*\.float\(\)"),
    ],
)
def test_what_is_no_film_is_refused(classifier, films, words):
    with pytest.raises(InputError, match=words):
        classifier.predict_proba(films)


def test_tensors_images_and_columns_are_films(home, classifier):
    wanted = np.asarray(classifier.predict_proba(GREY))
    colour = Image.fromarray(np.repeat(GREY[..., None], 3, axis=2))
    for same in (torch.from_numpy(GREY), Image.fromarray(GREY), colour, np.ma.masked_array(GREY)):
        np.testing.assert_array_equal(classifier.predict_proba(same), wanted)
    paths = [str(home / "films" / f"{number:03}.png") for number in range(2)]
    wanted = np.asarray(classifier.predict_proba(paths))
    for same in (pd.Series(paths, index=[7, 3]), pd.DataFrame({"path": paths}), (path for path in paths)):
        np.testing.assert_array_equal(classifier.predict_proba(same), wanted)


def test_a_name_that_is_too_long_is_a_status(classifier):
    assert classifier.predict_proba("a" * 5000).status.tolist() == [cxrscore.Status.UNREADABLE]


@pytest.mark.parametrize("options", [{"explainer": ["x"]}, {"cam_layer": ["x"]}])
def test_names_of_heat_maps_are_texts(classifier, options):
    with pytest.raises(InputError, match="expected a name"):
        classifier.explain(GREY, classifier.findings[0], **options)
    with pytest.raises(InputError, match="the model has no finding"):
        classifier.explain(GREY, np.array([classifier.findings[0]]))


def test_progress_is_a_function(classifier, tmp_path):
    for call in (
        lambda: classifier.predict_proba(GREY, progress=None),
        lambda: cxrscore.train(tmp_path, progress=3),
        lambda: cxrscore.train(tmp_path, log=None),
        lambda: cxrscore.score(tmp_path, tmp_path / "out.h5", progress=None),
    ):
        with pytest.raises(TypeError, match="expected a function"):
            call()


def test_a_classifier_is_neither_pickled_nor_copied(classifier):
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"call cxrscore\.load in each process"):
            call(classifier)


def test_a_classifier_of_another_process_is_refused_and_ends_nothing(home, monkeypatch):
    found = cxrscore.load(home / "a", backend="torch", device="cpu", workers=1)
    film = home / "films" / "000.png"
    found.predict(film)
    (decoder,) = found._decoders._pool._all
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(InputError, match="before this process was forked; call"):
        found.predict(film)
    found.close()
    assert decoder._process.poll() is None
    monkeypatch.undo()
    found.close()
    assert decoder._process is None


def test_close_while_another_thread_scores_leaves_no_process(home):
    found = cxrscore.load(home / "a", backend="torch", device="cpu", batch_size=1, workers=2)
    begun, closed, pools = threading.Event(), threading.Event(), []

    def pause(*_):
        pools.append(found._decoders._pool)
        begun.set()
        closed.wait()

    films = [home / "films" / f"{number:03}.png" for number in range(6)] * 20
    results = []
    thread = threading.Thread(target=lambda: results.append(found.predict_proba(films, progress=pause)))
    thread.start()
    begun.wait()
    found.close()
    closed.set()
    thread.join()
    assert (results[0].status == cxrscore.Status.OK).all()
    assert found._decoders._pool is None
    assert all(decoder._process is None for decoder in pools[0]._all)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "fp16"}, "precision is 'fp16', expected one of fp32, bf16, int8"),
        ({"precision": None}, "precision is None"),
        ({"batch_size": "8"}, "batch_size is '8', expected a whole number, 1 or more"),
        ({"batch_size": 2.5}, "batch_size is 2.5, expected a whole number"),
        ({"batch_size": True}, "batch_size is True, expected a whole number"),
        ({"workers": 1.5}, "workers is 1.5, expected a whole number"),
    ],
)
def test_load_and_score_refuse_the_same_values(home, options, words):
    with pytest.raises(InputError, match=words):
        cxrscore.load(home / "a", **options)
    with pytest.raises(InputError, match=words):
        cxrscore.score(home / "films", home / "out.h5", model=home / "a", **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heatmaps": -1}, "heatmaps is -1, expected 0 or more"),
        ({"thumbnails": -1}, "thumbnails is -1, expected 0 or more"),
        ({"seed": "x"}, "seed is 'x', expected a whole number"),
        ({"tta": 1.5}, "tta is 1.5, expected a whole number"),
        ({"partition": (1, 2)}, r"partition is \(1, 2\), expected a text such as '1/2'"),
        ({"partition": "3/2"}, r"partition 3/2: expected i/n"),
        ({"films": None}, "films is of type NoneType, expected a path"),
        ({"output": None}, "output is of type NoneType, expected a path"),
        ({"films": ""}, "films is an empty text, expected a path"),
        ({"model": b"m"}, "model is of type bytes, expected a path"),
    ],
)
def test_score_refuses(options, words):
    with pytest.raises(InputError, match=words):
        ScoreOptions(**{"films": "films", "output": "out.h5", **options})


def test_a_partition_is_a_text_too():
    made = ScoreOptions(films="films", output="out.h5", partition="1/2")
    assert (
        made.partition == ScoreOptions(films="films", output="out.h5", partition=Partition(number=1, count=2)).partition
    )
    with pytest.raises(TypeError, match="unexpected option 'shard'; did you mean 'partition'"):
        cxrscore.score("films", "out.h5", shard="1/2")


def test_whole_numbers_of_numpy_become_those_of_python():
    assert type(ScoreOptions(films="films", output="out.h5", batch_size=np.int64(2)).batch_size) is int


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 2.5}, "epochs is 2.5, expected a whole number, 1 or more"),
        ({"size": "64"}, "size is '64', expected a whole number"),
        ({"learning_rate": "x"}, "learning_rate is 'x', expected a number"),
        ({"weights": None}, "weights is None, expected 'imagenet', 'none' or a path"),
        ({"output": "."}, "output is ., a folder; expected the name of a file"),
        ({"films": None}, "films is of type NoneType, expected a path"),
    ],
)
def test_train_refuses(options, words):
    with pytest.raises(InputError, match=words):
        TrainOptions(**options)


def test_a_recipe_is_a_name_or_a_path(tmp_path):
    with pytest.raises(InputError, match="recipe is of type int, expected the name of a recipe or a path"):
        cxrscore.train(tmp_path, recipe=3)


def test_score_takes_auto_for_the_backend(home):
    made = cxrscore.score(home / "films", home / "auto.h5", model=home / "a", backend="auto")
    assert made.backend == cxrscore.load(home / "a").backend


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"group_by": "sex"}, "group_by is sex, and groups, the table with that column, is not given"),
        ({"findings": 3}, "findings is 3, expected a text or a list of texts"),
        ({"findings": "Nope"}, "there is no finding Nope"),
        ({"resamples": -1}, "resamples is -1, expected 0 or more"),
        ({"seed": 1.5}, "seed is 1.5, expected a whole number"),
    ],
)
def test_report_refuses(tmp_path, options, words):
    scores = made_file(tmp_path / "out.h5")
    with pytest.raises(InputError, match=words):
        cxrscore.report(scores, **{"resamples": 0, **options})


def test_report_takes_any_list_of_files(tmp_path):
    scores = made_file(tmp_path / "out.h5")
    for several in (iter([scores]), pd.Series([str(scores)])):
        assert cxrscore.report(several, tmp_path / "page.html", resamples=0)["output"] == str(tmp_path / "page.html")
    with pytest.raises(TypeError, match=r"report\(\) got an unexpected option 'source'"):
        cxrscore.report(scores, source="other")
