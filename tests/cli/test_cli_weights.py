"""Public weights as they are typed: listed, fetched from a mirror on loopback, and named where files are taken."""

import io
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import servers  # noqa: E402
import torch_nets  # noqa: E402
from test_cli_three_lines import cxrscore  # noqa: E402

import cxrscore as package  # noqa: E402
from cxrscore.errors import InputError  # noqa: E402
from cxrscore.images import Preprocessing, preprocess, read_film, to_unit  # noqa: E402
from cxrscore.models.model_file import load_model  # noqa: E402
from cxrscore.models.public_weights import PUBLIC_WEIGHTS, XRV_OUTPUTS  # noqa: E402
from cxrscore.scorefile import open_scores  # noqa: E402
from cxrscore.synthetic.phantoms import make_phantoms  # noqa: E402

NIH, ALL = "densenet121-res224-nih", "resnet50-res512-all"


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def nets():
    """Files of random numbers with the structure of the published ones: a whole pickled DenseNet121 of
    torchxrayvision, and the state dict of its ResNet50; and the networks themselves."""
    with torch_nets.torchxrayvision() as made:
        dense = torch_nets.lively(made(18, 1))
        dense.features.conv0.weight.data /= 500
        dense.pathologies = list(XRV_OUTPUTS)
        whole = saved(dense)
    res = torch_nets.lively(torch_nets.ResNet(18, 1))
    res.conv1.weight.data /= 500
    files = {NIH: whole, ALL: saved(res.state_dict())}
    return files, {NIH: dense, ALL: res}


@pytest.fixture(scope="module")
def home(tmp_path_factory, nets):
    """A folder with 20 films, and a mirror of the two files; the cache is empty at first."""
    folder = tmp_path_factory.mktemp("names")
    make_phantoms(folder, films=60, patients=40, side=64, seed=3)
    for film in sorted((folder / "films").glob("*.png"))[20:]:
        film.unlink()
    with servers.files() as mirror, pytest.MonkeyPatch.context() as patch:
        mirror.files = {f"/{PUBLIC_WEIGHTS[name].file}": data for name, data in nets[0].items()}
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        patch.setenv("CXRSCORE_WEIGHTS_MIRROR", f"{mirror.url}/")
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.delenv("CXRSCORE_OFFLINE", raising=False)
        patch.chdir(folder)
        yield folder, mirror


def test_the_list_says_what_there_is(home):
    folder, mirror = home
    text = cxrscore("weights", folder=folder).stdout
    asked = mirror.asked.total()
    for name, entry in PUBLIC_WEIGHTS.items():
        assert f"{name}: {entry.architecture}, films of {entry.size} pixels" in text
        assert entry.url in text
    rows = json.loads(cxrscore("weights", "--json", folder=folder).stdout)
    assert [row["name"] for row in rows] == list(PUBLIC_WEIGHTS)
    assert rows[1]["findings"] == list(XRV_OUTPUTS[:14])
    assert mirror.asked.total() == asked


def test_fetch_downloads_once_and_says_what_before(home):
    folder, mirror = home
    name, entry = ALL, PUBLIC_WEIGHTS[ALL]
    first = cxrscore("weights", "fetch", name, "--json", folder=folder)
    lines = first.stderr.splitlines()
    size = f"{len(mirror.files[f'/{entry.file}']) / 1e6:.1f} MB"
    where = f"{mirror.url}/{entry.file}"
    assert lines[0] == f"downloading {name}: a file of {size}, from {where}; licence: {entry.licence}"
    assert lines[1] == f"{name}: wrote {folder / 'cache' / entry.file}"
    (result,) = json.loads(first.stdout)
    assert (result["name"], result["downloaded"], result["licence"]) == (name, True, entry.licence)
    again = cxrscore("weights", "fetch", name, "-q", "--json", folder=folder)
    assert again.stderr == ""
    assert json.loads(again.stdout) == [{**result, "downloaded": False}]
    assert f"in cache    {folder / 'cache' / entry.file}" in cxrscore("weights", folder=folder).stdout
    assert mirror.asked[f"GET /{entry.file}"] == 1


def test_unknown_names_and_networks_without_findings_end_with_advice(home):
    folder, mirror = home
    asked = mirror.asked.total()
    done = cxrscore("weights", "fetch", "rad-dinos", folder=folder, expect=1)
    assert "there are no public weights 'rad-dinos'. Public weights with a similar name: rad-dino" in done.stderr
    done = cxrscore("score", "films", "-o", "x.h5", "-m", "rad-dino", folder=folder, expect=1)
    assert "scores nothing. Train a head: `cxrscore train --weights rad-dino`" in done.stderr
    done = cxrscore("score", "films", "-o", "x.h5", "-m", "densenet121-res224", folder=folder, expect=1)
    assert "there is no model at densenet121-res224. " in done.stderr
    assert "densenet121-res224-" in done.stderr.partition("similar name: ")[2]
    assert mirror.asked.total() == asked


@pytest.mark.slow
def test_one_line_from_films_to_scores_that_equal_those_of_the_network(home, nets):
    folder, mirror = home
    entry = PUBLIC_WEIGHTS[NIH]
    line = ("score", "films", "-o", "out.h5", "-m", NIH, "--backend", "torch", "--heatmaps", "0")
    done = cxrscore(*line, folder=folder)
    assert done.stderr.startswith(f"downloading {NIH}: a file of ")
    scores = open_scores(folder / "out.h5")
    assert scores.findings == XRV_OUTPUTS[:14]
    films = np.stack([square(folder / "films" / path, 224) for path in scores.films.path])
    with torch.no_grad():
        expected = torch.sigmoid(nets[1][NIH]((2 * torch.tensor(films)[:, None] - 1) * 1024)).numpy()[:, :14]
    assert np.ptp(expected, axis=0).max() > 0.01
    assert np.abs(scores.prob - expected).max() <= 1e-5
    (model,) = scores.provenance["models"]
    assert model["file"] == f"{NIH}.safetensors"
    assert model["document"]["training"]["weights"]["name"] == NIH
    assert model["document"]["licence"] == entry.licence
    assert model["document"]["trained_on"] == ["NIH"]
    assert NIH in scores.provenance["command"]
    # The conversion is kept, and nothing is downloaded again.
    (kept,) = (folder / "cache" / "models").glob(f"*/{NIH}.safetensors")
    before = kept.stat().st_mtime_ns
    assert "downloading" not in cxrscore(*line[:3], "again.h5", *line[4:], folder=folder).stderr
    assert kept.stat().st_mtime_ns == before
    assert list(kept.parent.iterdir()) == [kept]
    assert mirror.asked[f"GET /{entry.file}"] == 1
    cxrscore("verify", "again.h5", "-m", NIH, folder=folder)


@pytest.mark.slow
def test_names_are_taken_where_model_files_are(home, monkeypatch):
    folder, _ = home
    shown = json.loads(cxrscore("show", NIH, "--json", folder=folder).stdout)
    assert shown["file_type"] == "model"
    assert NIH in cxrscore("show", NIH, "--model-card", folder=folder).stdout
    assert "FAILED" not in cxrscore("verify", NIH, folder=folder).stdout
    cxrscore("import", NIH, "-o", "mine.safetensors", "--licence", "as agreed", folder=folder)
    document = load_model(folder / "mine.safetensors").document
    assert (document["licence"], document["training"]["weights"]["name"]) == ("as agreed", NIH)
    assert document["spec"]["findings"] == list(XRV_OUTPUTS[:14])
    with package.load(NIH, backend="torch", workers=1) as classifier:
        assert classifier.findings == XRV_OUTPUTS[:14]
        assert NIH in repr(classifier)
        film = sorted((folder / "films").glob("*.png"))[0]
        assert set(classifier.predict(film)) == set(XRV_OUTPUTS[:14])
    (folder / NIH).write_bytes((folder / "mine.safetensors").read_bytes())
    try:  # a file of that name comes first
        assert package.load_model(NIH).document["licence"] == "as agreed"
        assert json.loads(cxrscore("show", NIH, "--json", folder=folder).stdout)["licence"] == "as agreed"
    finally:
        (folder / NIH).unlink()


@pytest.mark.slow
def test_export_and_quantize_take_names(home):
    folder, _ = home
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    cxrscore("export", NIH, "-o", "model.onnx", folder=folder)
    assert (folder / "model.onnx").stat().st_size > 1_000_000
    cxrscore("quantize", NIH, "films", "-o", "int8.safetensors", folder=folder)
    document = load_model(folder / "int8.safetensors").document
    assert document["trained_on"] == ["NIH"]
    assert document["quantization"]


@pytest.mark.slow
def test_the_resnet_of_torchxrayvision_is_converted_for_its_size(home, nets):
    folder, _ = home
    with package.load(ALL, backend="torch", workers=1, batch_size=1) as classifier:
        assert classifier.findings == PUBLIC_WEIGHTS[ALL].findings
        film = sorted((folder / "films").glob("*.png"))[0]
        found = classifier.predict_proba(film).values[0]
    with torch.no_grad():
        grey = torch.tensor(square(film, 512))[None, None]
        expected = torch.sigmoid(nets[1][ALL]((2 * grey - 1) * 1024)).numpy()[0]
    trained = [place for place, name in enumerate(PUBLIC_WEIGHTS[ALL].outputs) if name]
    assert np.abs(found - expected[trained]).max() <= 1e-5


@pytest.mark.slow
def test_training_starts_from_a_named_classifier(home):
    folder, _ = home
    options = ("--epochs", "1", "--backend", "torch", "-o", "trained.safetensors", "--size", "64")
    cxrscore("train", "films", "--weights", NIH, *options, "--labels", "films/labels.csv", folder=folder)
    document = load_model(folder / "trained.safetensors").document
    assert document["training"]["weights"]["name"] == NIH
    assert document["trained_on"] == ["NIH"]
    assert (document["spec"]["normalize"], document["preprocessing"]["fit"]) == ("signed-1024", "crop")
    recipe = (folder / "trained.run" / "recipe.toml").read_text()
    assert f'weights = "{NIH}"' in recipe
    assert "Needs" not in recipe


@pytest.mark.slow
def test_training_takes_the_network_that_goes_with_a_name(home, monkeypatch):
    """It ends before films are read, because the weights are not here."""
    folder, _ = home
    monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    line = ("train", "films", "--weights", "rad-dino", "--backend", "torch", "-o", "none.safetensors")
    done = cxrscore(*line, folder=folder, expect=1)
    assert "the weights rad-dino are not here: CXRSCORE_OFFLINE forbids downloading" in done.stderr
    done = cxrscore(*line, "--architecture", "densenet121", "--head", "gap", folder=folder, expect=1)
    assert "rad-dino are weights of vit_b14, expected those of densenet121" in done.stderr
    with pytest.raises(InputError, match="the weights rad-dino are not here"):
        package.train(folder / "films", weights="rad-dino", backend="torch", output=folder / "none.safetensors")


def test_a_mirror_that_fails_is_one_line_and_nothing_stays(home, monkeypatch):
    folder, mirror = home
    name = "densenet121-res224-pc"
    done = cxrscore("weights", "fetch", name, folder=folder, expect=1)
    assert done.stderr.count("\n") == 1
    assert (
        f"the file {PUBLIC_WEIGHTS[name].file}: get it from {PUBLIC_WEIGHTS[name].url} or {mirror.url}/" in done.stderr
    )
    assert not list((folder / "cache").glob(f"{PUBLIC_WEIGHTS[name].file}*"))
    monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    with pytest.raises(InputError, match="CXRSCORE_OFFLINE forbids downloading"):
        package.load(name)


def square(path, size):
    return to_unit(preprocess(read_film(path).pixels, Preprocessing(size=size, fit="crop")))
