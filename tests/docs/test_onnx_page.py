"""The lines of docs/onnx.md that serve a model give the numbers of cxrscore."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_model import document, golden

import cxrscore
from cxrscore.contract import SupportsHeatmaps
from cxrscore.explainers import grad_cam
from cxrscore.export import OnnxOptions, export_onnx
from cxrscore.images import Preprocessing, preprocess, read_film, to_unit
from cxrscore.models.model_file import load_model, save_model
from cxrscore.plugins import get_backend
from cxrscore.synthetic.phantoms import phantom
from cxrscore.testing.fixtures import random_tensors, spec_of

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
CALIBRATION = {"method": "platt", "slope": [1.5, 0.7, 1.0], "intercept": [0.1, -0.2, 0.0], "fitted_on": "valid"}


def served():
    """The one block of Python on the page."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return code


def draw_film(width, height, deep):
    """A synthetic film as film.png, in 8 or 16 bits."""
    pixels = cv2.resize(phantom(1, ["Mass"], 200)[0], (width, height))
    assert cv2.imwrite("film.png", pixels.astype(np.uint16) * 251 if deep else pixels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height", "deep"), [(150, 180, False), (150, 180, True), (40, 90, False), (34, 40, True), (64, 64, False)]
)
def test_the_lines_that_serve_a_model_give_the_numbers_of_cxrscore(tmp_path, monkeypatch, capsys, width, height, deep):
    monkeypatch.chdir(tmp_path)
    spec = spec_of("tinycnn", size=64)
    tensors = random_tensors(spec)
    own = document(spec, golden=golden(spec, tensors), calibration=CALIBRATION)
    save_model("model.safetensors", tensors, own)
    export_onnx(OnnxOptions(model=Path("model.safetensors"), output=Path("model.onnx")))
    draw_film(width, height, deep)

    found: dict[str, object] = {}
    exec(served(), found)  # noqa: S102 - the page's own lines

    wanted = cxrscore.load("model.safetensors", backend="torch").predict("film.png")
    printed = capsys.readouterr().out
    for finding, value in zip(spec.findings, found["probabilities"][0], strict=True):
        assert abs(value - wanted[finding]) <= 1e-6
        assert finding in printed

    file = load_model("model.safetensors")
    square = preprocess(read_film(Path("film.png")).pixels, Preprocessing.from_dict(file.document["preprocessing"]))
    assert np.array_equal(found["films"], to_unit(square)[None])
    model = get_backend("torch").build(file.spec, file.tensors, device="cpu")
    assert isinstance(model, SupportsHeatmaps)
    maps = grad_cam(model.cam_parts(to_unit(square)[None], range(3)))
    assert found["heatmaps"].shape == maps.shape
    assert np.abs(found["heatmaps"] - maps).max() <= 1e-5 * np.abs(maps).max()


def test_it_is_about_fifteen_lines_and_needs_no_cxrscore():
    lines = [line for line in served().splitlines() if line.strip()]
    assert len(lines) <= 16
    assert "cxrscore" not in served()
