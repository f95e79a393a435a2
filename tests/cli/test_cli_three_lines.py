"""The three lines as a newcomer types them, each command a process of its own, with either backend."""

import json
import re
import subprocess
import sys
from pathlib import Path

import forked
import jsonschema
import numpy as np
import pytest
from made_models import made_films, made_model

from cxrscore.images import Preprocessing, Status
from cxrscore.images.decoder_protocol import HEAD, Settings
from cxrscore.models.model_file import load_model
from cxrscore.scorefile import open_scores
from cxrscore.subprocesses import child_environment, python_command
from cxrscore.synthetic.phantoms import make_phantoms

SMALL = ["--architecture", "tinycnn", "--weights", "none", "--size", "64", "--trainable", "all", "--epochs", "2"]


def cxrscore(*words, folder, expect=0):
    done = forked.cxrscore(*words, cwd=folder)
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    assert not re.search(r"^[IWEF]\d{4} |^\d{4}-\d\d-\d\d .*: [IWEF] |absl|oneDNN", done.stderr, re.MULTILINE)
    return done


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("CXRSCORE_OFFLINE", "1")
        patch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # the plugin keeps TensorFlow quiet by itself
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory, cache) -> Path:
    """A folder with films/ and films/labels.csv, one film broken, and a model trained by torch."""
    folder = tmp_path_factory.mktemp("home")
    make_phantoms(folder, films=80, patients=60, side=128, seed=1)
    (folder / "films" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a film")
    cxrscore("train", "--backend", "torch", *SMALL, folder=folder)
    return folder


def test_the_three_lines(home):
    for name in ("history.csv", "split.csv", "loss.png"):
        assert (home / "model.run" / name).stat().st_size > 0
    done = cxrscore("score", "./films", "-o", "out.h5", folder=home, expect=3)
    assert "broken.png" in done.stderr
    scores = open_scores(home / "out.h5")
    assert (scores.films.status == Status.OK).sum() == 80
    bad = scores.films.path.index("broken.png")
    assert np.isnan(scores.prob[bad]).all()
    assert scores.films.message[bad]
    assert {"train", "valid"} <= {("", "train", "valid", "test")[code] for code in scores.films.split}
    done = cxrscore("report", "out.h5", "--json", folder=home)
    summary = json.loads(done.stdout)
    assert (home / "out.html").read_text().startswith("<!DOCTYPE html>")
    assert summary["films"]["failed"] == 1


def test_the_model_file_is_as_its_schema_says(home):
    schema = json.loads((Path(__file__).parents[2] / "schemas" / "model.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(load_model(home / "model.safetensors").document, schema)


def test_the_other_backend_gives_the_same_scores(home):
    for backend in ("torch", "keras"):
        cxrscore("score", "films", "-o", f"{backend}.h5", "--backend", backend, folder=home, expect=3)
    torch, keras = open_scores(home / "torch.h5"), open_scores(home / "keras.h5")
    assert np.nanmax(np.abs(torch.prob - keras.prob)) <= 1e-5
    assert torch.provenance["explainer"] == keras.provenance["explainer"]
    assert np.corrcoef(torch.heat_maps.map.ravel(), keras.heat_maps.map.ravel())[0, 1] > 0.999


def test_keras_trains_too(home, tmp_path):
    cxrscore("train", home / "films", "--backend", "keras", *SMALL, folder=tmp_path)
    cxrscore("score", home / "films", "-o", "out.h5", "--backend", "keras", folder=tmp_path, expect=3)
    provenance = open_scores(tmp_path / "out.h5").provenance
    assert provenance["backend"]["name"] == "keras"
    assert provenance["backend"]["golden_difference"] <= 2e-5


def test_score_says_which_backend_it_takes_and_where_maps_are_taken(home, tmp_path):
    words = ("score", home / "films", "-o", "out.h5", "-m", home / "model.safetensors", "--cam-layer", "conv4")
    done = cxrscore(*words, folder=tmp_path, expect=3)
    provenance = open_scores(tmp_path / "out.h5").provenance
    assert f"scored by backend {provenance['backend']['name']}" in done.stderr
    assert provenance["explainer"] == {"name": "grad-cam", "cam_layer": "conv4"}
    assert (
        "no layer 'nowhere'; it has: relu, conv4"
        in cxrscore(*words[:-1], "nowhere", "--overwrite", folder=tmp_path, expect=1).stderr
    )


def test_the_three_lines_with_two_models_and_tta(home, tmp_path):
    cxrscore("train", home / "films", "--backend", "torch", *SMALL, "--seed", "1", folder=tmp_path)
    words = ("score", home / "films", "-m", home / "model.safetensors", "-m", "model.safetensors", "--tta", "2")
    done = cxrscore(*words, "-o", "out.h5", "--json", folder=tmp_path, expect=3)
    said = json.loads(done.stdout)
    scores = open_scores(tmp_path / "out.h5")
    assert said["models"] == [one["sha256"] for one in scores.provenance["models"]]
    assert (len(set(said["models"])), said["tta"], said["computed"]) == (2, 2, 81)
    assert json.loads(cxrscore(*words, "-o", "out.h5", "--json", folder=tmp_path, expect=3).stdout)["computed"] == 0
    cxrscore("report", "out.h5", folder=tmp_path)
    assert "mean over 2 models and 2 augmented copies of each film" in (tmp_path / "out.html").read_text()
    named = ("-m", home / "model.safetensors", "-m", "model.safetensors", "--films", home / "films")
    assert "FAILED" not in cxrscore("verify", "out.h5", *named, folder=tmp_path).stdout


def test_a_frozen_base_trains_its_head_on_embeddings(home, tmp_path):
    words = [word for word in SMALL if word not in ("--trainable", "all")]
    cxrscore("train", home / "films", "--backend", "torch", *words, "--augmentations", "2", folder=tmp_path)
    history = (tmp_path / "model.run" / "history.csv").read_text().splitlines()
    assert history[0].startswith("epoch,learning_rate,train_loss,valid_loss,valid_macro_auc,train_label_accuracy")
    assert len(history) == 3


def test_a_patient_in_two_splits_ends_the_run(home, tmp_path):
    rows = (home / "films" / "labels.csv").read_text().splitlines()[1:]
    names = [row.split(",")[0] for row in rows]
    patient = [row.split(",")[3] for row in rows]
    repeated = next(p for p in patient if patient.count(p) > 1)
    first = names[patient.index(repeated)]
    split = ["film,split", *(f"{name},{'valid' if name == first else 'train'}" for name in names)]
    (tmp_path / "split.csv").write_text("\n".join(split))
    done = cxrscore(
        "train", home / "films", "--backend", "torch", "--split", "split.csv", *SMALL, folder=tmp_path, expect=4
    )
    assert first in done.stderr
    assert not (tmp_path / "model.safetensors").exists()


def test_errors_say_what_to_do(home, tmp_path):
    assert "cxrscore train" in cxrscore("score", home / "films", "-o", "x.h5", folder=tmp_path, expect=1).stderr
    done = cxrscore("train", home / "films", "--backend", "nope", folder=tmp_path, expect=6)
    assert "keras" in done.stderr
    done = cxrscore("train", home / "films", "--backend", "torch", folder=tmp_path, expect=1)
    assert "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5" in done.stderr
    assert "no film" in cxrscore("train", tmp_path, "--backend", "torch", *SMALL, folder=tmp_path, expect=1).stderr


def test_a_run_of_another_model_is_not_mixed_in(home, tmp_path):
    cxrscore("score", home / "films", "-o", "a.h5", "-m", home / "model.safetensors", folder=tmp_path, expect=3)
    words = ("score", home / "films", "-o", "a.h5", "-m", home / "model.safetensors", "--heatmaps", "2")
    assert "--overwrite" in cxrscore(*words, folder=tmp_path, expect=1).stderr
    cxrscore(*words, "--overwrite", folder=tmp_path, expect=3)


def test_help_imports_nothing_heavy():
    heavy = "{'numpy', 'cv2', 'h5py', 'matplotlib', 'torch', 'keras', 'tensorflow', 'sklearn', 'jinja2'}"
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom cxrscore.cli import main\n"
        "for words in ([], ['train'], ['score'], ['report'], ['demo'], ['plugins']):\n"
        "    assert CliRunner().invoke(main, [*words, '--help']).exit_code == 0\n"
        f"found = {heavy} & set(sys.modules)\nassert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_score_with_openvino_imports_no_other_framework_and_nothing_of_training_and_reports(tmp_path):
    """Nor of DICOM, where all films are PNG files."""
    made_films(tmp_path / "films")
    made_model(tmp_path / "m", 1)
    heavy = {"torch", "keras", "tensorflow", "jax", "onnx", "onnxruntime", "sklearn", "scipy", "pandas", "matplotlib"}
    heavy |= {"ray", "jinja2", "jsonschema", "pydicom", "cxrscore.training", "cxrscore.reporting"}
    words = ["score", "films", "-o", "out.h5", "-m", "m", "--backend", "openvino", "--heatmaps", "1"]
    code = (
        f"import sys\nfrom cxrscore.cli import main\ntry:\n    main({words})\nexcept SystemExit as end:\n"
        f"    print(end.code, 'openvino' in sys.modules, sorted({heavy} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "3 True []\n", done.stderr
    assert (open_scores(tmp_path / "out.h5").films.status == Status.OK).sum() == 6


def test_a_decoder_process_imports_what_decodes_a_film_and_no_more(tmp_path):
    """Each core has one, and the first film waits until it has started."""
    film, settings = made_films(tmp_path / "films") / "000.png", Settings(preprocessing=Preprocessing(size=32))
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom cxrscore.images.worker import main\nmain()\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        f"open({str(tmp_path / 'modules')!r}, 'w').write(' '.join(sorted(new)))\n"
    )
    order = settings.line() + f"0 {json.dumps({'path': str(film)})}\n".encode()
    done = subprocess.run(python_command("-c", code), env=child_environment(), input=order, capture_output=True)
    number, length = HEAD.unpack_from(done.stdout)
    assert number == 0
    assert json.loads(done.stdout[HEAD.size :][:length])["film"]["status"] == Status.OK
    assert (tmp_path / "modules").read_text().split() == ["cv2", "cxrscore", "numpy", "platformdirs"]
