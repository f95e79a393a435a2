"""cxrscore import as it is typed, and all that a model file is good for afterwards."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch_nets  # noqa: E402
from test_cli_three_lines import cxrscore  # noqa: E402

from cxrscore.images import Preprocessing, preprocess, read_film, to_unit  # noqa: E402
from cxrscore.labels.findings import FINDINGS  # noqa: E402
from cxrscore.models.model_file import load_model  # noqa: E402
from cxrscore.scorefile import open_scores  # noqa: E402
from cxrscore.synthetic.phantoms import make_phantoms  # noqa: E402

SIDE = 64


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Films, and files as the world has them: CheXNet's, ImageNet's and one of torchxrayvision."""
    folder = tmp_path_factory.mktemp("import")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        make_phantoms(folder, films=60, patients=40, side=SIDE, seed=3)
        for film in sorted((folder / "films").glob("*.png"))[6:]:
            film.unlink()
        network = torch_nets.lively(torch_nets.CheXNet())
        state = {f"module.{name}": tensor for name, tensor in torch_nets.old_names(network.state_dict()).items()}
        torch.save({"state_dict": state}, folder / "model.pth.tar", _use_new_zipfile_serialization=False)
        torch.save(torch_nets.lively(torch_nets.DenseNet()).state_dict(), folder / "imagenet.pth")
        plain = torch_nets.DenseNet(2).state_dict()
        bare = {name: value for name, value in plain.items() if not name.startswith("classifier")}
        torch.save(bare, folder / "backbone.pth")
        torch.save({"net": plain, "net_ema": plain, "criterion.pos_weight": torch.ones(2)}, folder / "net.ckpt")
        torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, folder / "resnet50.pth")
        with torch_nets.torchxrayvision() as made:
            xrv = torch_nets.lively(made(18, 1))
            xrv.features.conv0.weight.data /= 500
            torch.save(xrv, folder / "xrv.pt")
        yield folder, network


def test_chexnet_is_imported_verified_scored_and_reported(home):
    folder, network = home
    done = cxrscore(
        *("import", "model.pth.tar", "--findings", "nih14"),
        *("--size", SIDE, "--licence", "MIT", "--json"),
        folder=folder,
    )
    assert json.loads(done.stdout)["findings"] == list(FINDINGS)
    document = load_model(folder / "model.safetensors").document
    assert document["training"]["imported"] == {"checkpoint_type": "torchvision", "n_outputs": 14}
    assert document["training"]["weights"]["name"] == "model.pth.tar"
    assert document["licence"] == document["training"]["weights"]["licence"] == "MIT"
    assert document["films"] == {"train": [], "valid": []}
    assert "FAILED" not in cxrscore("verify", "model.safetensors", folder=folder).stdout
    cxrscore("score", "films", "-o", "out.h5", "--backend", "torch", folder=folder)
    scores = open_scores(folder / "out.h5")
    films = np.stack([square(folder / "films" / path) for path in scores.films.path])
    mean, sd = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        expected = network((torch.tensor(films)[:, None].expand(-1, 3, -1, -1) - mean) / sd).numpy()
    assert len(films) == 6
    assert np.abs(scores.prob - expected).max() <= 1e-5
    cxrscore("report", "out.h5", folder=folder)
    page = (folder / "out.html").read_text()
    assert "model.pth.tar" in page
    assert "torchvision" in page
    assert not {"Best epoch", "Patients", "Starting weights"} & set(page.replace("<", ">").split(">"))
    parity = ("check", "--parity", "model.safetensors", "--backends", "torch")
    assert "FAILED" not in cxrscore(*parity, folder=folder).stdout


def square(path):
    return to_unit(preprocess(read_film(path).pixels, Preprocessing(size=SIDE)))


def test_outputs_without_a_name_are_left_out(home):
    folder, _ = home
    findings = "Atelectasis,,Infiltration" + "," * 14 + ",Pleural Effusion"
    words = ("import", "xrv.pt", "-o", "xrv.safetensors", "--size", SIDE, "--findings", findings)
    said = cxrscore(*words, folder=folder).stderr
    assert "densenet121, torchxrayvision names: 3 findings, 15 outputs excluded, 0 thresholds" in said
    model = load_model(folder / "xrv.safetensors")
    assert model.spec.findings == ("Atelectasis", "Infiltration", "Effusion")
    assert model.spec.normalize == "signed-1024"
    assert model.document["preprocessing"]["fit"] == "crop"
    assert model.tensors["head/bias"].shape == (3,)


def test_what_was_chosen_and_ignored_is_told(home):
    folder, _ = home
    words = ("import", "net.ckpt", "-o", "net.safetensors", "--size", SIDE, "--findings", "Mass,Edema")
    said = cxrscore(*words, "--normalize", "unit", folder=folder).stderr
    assert "took densenet121 under 'net.features.', not densenet121 under 'net_ema.features.'. `cxrscore " in said
    assert "entries that are no weights of the network: criterion.pos_weight, " in said
    assert load_model(folder / "net.safetensors").spec.normalize == "unit"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("imagenet.pth",), "1000 classes of ImageNet, and no finding"),
        (("resnet50.pth",), "The closest is resnet50v1.5 by torchvision names: 1 of its 265 weights are there"),
        (("backbone.pth",), "Train a head: `cxrscore train --architecture densenet121 --weights backbone.pth`"),
        (("net.ckpt", "--findings", "Mass,Edema", "--key", "none"), "no weights of a network under 'none'"),
        (("model.pth.tar",), "--findings chexpert14, for --findings 'No Finding,Enlarged Cardiomediastinum,"),
        (("xrv.pt",), "Give --findings, 18 names separated by commas"),
        (("model.pth.tar", "--findings", "Mass,Edema"), "has 14 outputs, but 2 names"),
        (("none.pth",), "there is no checkpoint at none.pth"),
        (("films/labels.csv",), "it does not begin as files of torch (.pth, .pt, .ckpt, .bin), safetensors or Keras"),
    ],
)
def test_what_is_refused_and_why(home, words, told):
    folder, _ = home
    assert told in cxrscore("import", *words, "-o", "no.safetensors", folder=folder, expect=1).stderr
    assert not (folder / "no.safetensors").exists()
