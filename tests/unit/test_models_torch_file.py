"""Tensors as torch lays them out: kinds, views, strides and shared storages, in both formats."""

import argparse
import collections
import datetime
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cxrscore.errors import FileFormatError  # noqa: E402
from cxrscore.models.torch_file import read_torch  # noqa: E402

KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
KINDS += [torch.int8, torch.uint8, torch.bool]


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def saved(tmp_path, request):
    """Saves in either format, and reads back."""

    def save(held, **options):
        torch.save(held, tmp_path / "a.pth", _use_new_zipfile_serialization=request.param, **options)
        return read_torch(tmp_path / "a.pth")

    return save


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_number(saved, kind):
    tensor = torch.tensor([[0.0, 1.5, 2.0], [3.0, 100.0, 0.0]]).to(kind)
    found = saved({"w": tensor}).tensors["w"]
    np.testing.assert_array_equal(found, tensor.float().numpy())
    assert found.shape == (2, 3)


def test_bfloat16_by_hand(saved):
    # 0x3FC0 is 1.5 as the upper half of a float32: 0x3FC00000.
    assert saved({"w": torch.tensor([1.5], dtype=torch.bfloat16)}).tensors["w"].tolist() == [1.5]


def test_views_transposes_and_shared_storages(saved):
    whole = torch.arange(24.0).reshape(4, 6)
    held = {"whole": whole, "row": whole[2], "column": whole[:, 1], "turned": whole.T, "inner": whole[1:3, 2:4]}
    found = saved(held).tensors
    for name, tensor in held.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())
    assert found["column"].tolist() == [1, 7, 13, 19]


def test_a_number_alone_and_parameters(saved):
    held = {"count": torch.tensor(7), "w": torch.nn.Parameter(torch.ones(2))}
    assert {name: t.tolist() for name, t in saved(held).tensors.items()} == {"count": 7, "w": [1, 1]}


def test_a_later_protocol_of_pickle(saved):
    network = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.BatchNorm1d(1, eps=0.5))
    for protocol in (2, 3, 4, 5):
        found = saved(network, pickle_protocol=protocol)
        assert set(found.tensors) == set(network.state_dict())
        assert found.epsilon == {"1": 0.5}
        assert found.module == "torch.nn.modules.container.Sequential"


@pytest.mark.parametrize("key", ["state_dict", "net"])
def test_weights_beside_other_things(saved, key):
    held = {key: {"w": torch.ones(1)}, "epoch": 3, "loss": np.float64(1), "old": torch.zeros(1), "seen": {1, 2}}
    found = saved(held | {"none": torch.zeros(0)})
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {"old": [0], f"{key}.w": [1]}
    assert found.metadata == {"epoch": 3}


def test_what_training_scripts_store_beside_weights_is_let_go(saved):
    """Arguments of a timm run, milestones of a schedule, paths, and times."""
    arguments = argparse.Namespace(lr=0.1, inner=argparse.Namespace(weights=torch.ones(1)))
    counts = collections.defaultdict(list, {"a": [1]})
    more = {"path": pathlib.Path("x"), "at": datetime.datetime(2026, 1, 1), "milestones": collections.Counter([1, 1])}
    found = saved({"model": {"w": torch.ones(1)}, "args": arguments, "counts": counts, **more})
    assert list(found.tensors) == ["model.w"]
    assert found.metadata == {}


def test_networks_and_dictionaries_within_dictionaries(saved):
    held = {"a": {"b": {"c": torch.ones(1)}}, "net": torch.nn.Sequential(torch.nn.BatchNorm1d(1, eps=0.5))}
    found = saved(held)
    assert sorted(found.tensors) == [
        *("a.b.c", "net.0.bias", "net.0.num_batches_tracked", "net.0.running_mean", "net.0.running_var"),
        "net.0.weight",
    ]
    assert found.epsilon == {"net.0": 0.5}
    with pytest.raises(FileFormatError, match=r"two tensors called 'a\.b'"):
        saved({"a": {"b": torch.ones(1)}, "a.b": torch.ones(1)})


def test_tensors_cannot_be_written_to(saved):
    with pytest.raises(ValueError, match="read-only"):
        saved({"w": torch.ones(1)}).tensors["w"][0] = 2


def test_every_cut_is_noticed(tmp_path, saved):
    saved({"w": torch.ones(3)})
    data = (tmp_path / "a.pth").read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "cut.pth").write_bytes(data[:length])
        with pytest.raises(FileFormatError, match=r"cut\.pth"):
            read_torch(tmp_path / "cut.pth")
