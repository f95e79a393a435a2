"""Networks of torchxrayvision's structure: `cxrscore import`, then the scores are those of the network itself.

The networks are written in tests/torch_nets.py, with random weights; where torchxrayvision is installed, its own
classes are compared too.
"""

import importlib
import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch_nets  # noqa: E402
from test_cli_three_lines import cxrscore  # noqa: E402

from cxrscore import load, open_scores  # noqa: E402
from cxrscore.images import Preprocessing, preprocess, read_film, to_unit  # noqa: E402
from cxrscore.import_checkpoint import XRV_OUTPUTS  # noqa: E402
from cxrscore.models.model_file import load_model  # noqa: E402

SIDE = 64
LIMIT = 1e-4
POINTS = [0.07422872, 0.038290843, 0.09814756, 0.0098118475, 0.023601074, 0.0022490358, 0.010060724, 0.103246614]
POINTS += [0.056810737, 0.026791653, 0.050318155, 0.023985857, 0.01939503, 0.042889766, 0.053369623, 0.035975814]
POINTS += [0.5, float("nan")]
"""As small as those that torchxrayvision publishes; NaN, as it has where an output was never trained."""
UNTRAINED = XRV_OUTPUTS.index("Enlarged Cardiomediastinum")


def op_norm(prob, points):
    """torchxrayvision's rescaling, as its documentation describes it: 0.5 at the threshold of each output."""
    return torch.where(prob < points, prob / (2 * points), 1 - (1 - prob) / (2 * (1 - points)))


def test_the_formula_by_hand():
    """A point at 0.2: half of it is a quarter; midway between it and 1 is three quarters."""
    found = op_norm(torch.tensor([0.0, 0.1, 0.2, 0.6, 1.0]), torch.tensor(0.2))
    assert found.tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def spread(network, first, head, films):
    """Scales the first layer to films of -1024..1024, and the head such that each output lies around its operating
    point."""
    first.weight.data /= 500
    head.weight.data /= network(films).std(dim=0)[:, None]
    head.bias.data.zero_()
    centre = torch.logit(torch.nan_to_num(torch.tensor(POINTS), 0.5))
    head.bias.data = centre - network(films).mean(dim=0)
    return network


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """films/ that are not square; dense.pt, a whole network with its thresholds; res.pt, a state dict without;
    what both networks make of the films, logits float32 [N,18]."""
    folder = tmp_path_factory.mktemp("xrv")
    (folder / "films").mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        noise = rng.integers(0, 256, (6, 5), dtype=np.uint8)
        film = cv2.resize(noise, (100, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "films" / f"{number}.png"), film)
    paths = sorted((folder / "films").glob("*.png"))
    films = torch.tensor(np.stack([crop(path) for path in paths]))[:, None] * 2048 - 1024
    with torch.no_grad(), torch_nets.torchxrayvision() as made:
        dense = torch_nets.lively(made(18, 1))
        spread(dense, dense.features.conv0, dense.classifier, films)
        dense.register_buffer("op_threshs", torch.tensor(POINTS))
        dense.targets = list(XRV_OUTPUTS)
        torch.save(dense, folder / "dense.pt")
        res = torch_nets.lively(torch_nets.ResNet(18, 1))
        spread(res, res.conv1, res.fc, films)
        torch.save(res.state_dict(), folder / "res.pt")
        return folder, paths, {"dense": dense(films), "res": res(films)}


def crop(path):
    """Middle square of a film, in 0..1."""
    return to_unit(preprocess(read_film(path).pixels, Preprocessing(size=SIDE, fit="crop")))


def words(name):
    """How a file is imported: of dense.pt the file says all but the size."""
    if name == "dense":
        return ()
    points = ",".join("" if np.isnan(point) else str(point) for point in POINTS)
    return "--findings", "xrv18", "--operating-points", points


@pytest.mark.slow
@pytest.mark.parametrize("rescaled", [False, True], ids=["plain", "rescaled"])
@pytest.mark.parametrize("name", ["dense", "res"])
def test_scores_of_an_import_equal_those_of_the_network(home, name, rescaled):
    folder, paths, logits = home
    flags = ("--rescale-to-thresholds",) if rescaled else ()
    model = folder / f"{name}-{rescaled}.safetensors"
    given = ("import", f"{name}.pt", "-o", model.name, "--size", SIDE, "--backend", "torch", *words(name), *flags)
    result = json.loads(cxrscore(*given, "--trained-on", "nih,PadChest", "--json", folder=folder).stdout)
    assert (result["thresholds"], result["rescaled"]) == (17, rescaled)
    expected = torch.sigmoid(logits[name])
    if rescaled:  # an output without a threshold is left as it is
        expected = torch.where(torch.isnan(torch.tensor(POINTS)), expected, op_norm(expected, torch.tensor(POINTS)))
    expected = expected.numpy()
    above = (expected > np.where(np.isnan(POINTS), 0.5, 0.5 if rescaled else POINTS)).mean(axis=0)
    assert 0 < above.min() <= above.max() < 1, "outputs on one side of their thresholds would show half"
    assert np.abs(load(model, backend="torch").predict_proba(paths) - expected).max() <= LIMIT
    cxrscore("score", "films", "-m", model.name, "-o", f"{name}-{rescaled}.h5", "--backend", "torch", folder=folder)
    scores = open_scores(folder / f"{name}-{rescaled}.h5")
    assert np.abs(scores.prob - expected).max() <= LIMIT
    assert np.abs(scores.logit - logits[name].numpy()).max() <= 1e-3
    assert scores.thresholds[:-1] == pytest.approx(np.full(17, 0.5) if rescaled else np.array(POINTS[:-1]))
    assert np.isnan(scores.thresholds[-1])
    assert "FAILED" not in cxrscore("verify", f"{name}-{rescaled}.h5", "-m", model.name, folder=folder).stdout
    assert load_model(model).document["trained_on"] == ["NIH", "PadChest"]


@pytest.mark.slow
def test_their_own_rescaling_and_network(home, tmp_path):
    """Where torchxrayvision is installed beside."""
    try:
        models = importlib.import_module("torchxrayvision").models
    except Exception as error:  # noqa: BLE001 - it imports much that may be missing or broken
        pytest.skip(f"torchxrayvision cannot be imported ({type(error).__name__}), so its own classes are not compared")
    points, prob = torch.tensor(POINTS), torch.rand((50, 18), generator=torch.Generator().manual_seed(0))
    ours = torch.nan_to_num(op_norm(prob, points), 0.5)
    assert torch.abs(models.op_norm(prob, points) - ours).max() <= 1e-6
    folder, paths, _ = home
    films = torch.tensor(np.stack([crop(path) for path in paths]))[:, None] * 2048 - 1024
    with torch.no_grad():
        network = torch_nets.lively(models.DenseNet(num_classes=18, in_channels=1))
        spread(network, network.features.conv0, network.classifier, films)
        network.op_threshs, network.targets = points, list(XRV_OUTPUTS)
        torch.save(network, tmp_path / "own.pt")
        expected = network(films).numpy()
    given = ("import", tmp_path / "own.pt", "-o", tmp_path / "own.safetensors", "--size", SIDE, "--backend", "torch")
    cxrscore(*given, "--rescale-to-thresholds", folder=folder)
    found = load(tmp_path / "own.safetensors", backend="torch").predict_proba(paths)
    assert np.abs(found - expected)[:, :UNTRAINED].max() <= LIMIT
