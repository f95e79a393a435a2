"""Public weights: what the registry says, and that a name gives the file it stands for or an error in words."""

import hashlib
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import safetensors.numpy
import servers

from cxrscore.contract import ModelSpec
from cxrscore.errors import FileFormatError, InputError, WriteError
from cxrscore.models import public_weights as module
from cxrscore.models.imagenet import base_weights, read_weights_info
from cxrscore.models.model_file import load_model
from cxrscore.models.public_weights import (
    PUBLIC_WEIGHTS,
    XRV_OUTPUTS,
    cached_file,
    fetch_weights,
    known_weights,
    public_weights,
    training_defaults,
)
from cxrscore.networks.builtin import BUILT_IN
from cxrscore.networks.graph import NORMALISATION_NAMES
from cxrscore.networks.tensors import initial_tensors
from cxrscore.remote import retry

FILE = "tiny.safetensors"


def weights_bytes(seed, architecture="tinycnn"):
    """A safetensors file of a backbone, as another program writes it."""
    tensors = initial_tensors(ModelSpec(architecture=architecture, findings=("any",), size=64), seed)
    return safetensors.numpy.save({name: value for name, value in tensors.items() if not name.startswith("head/")})


DATA, OTHER = weights_bytes(0), weights_bytes(1)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of the file of the only small entry, "tiny", which has no published digest; and an empty cache."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0)
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("CXRSCORE_OFFLINE", raising=False)
    monkeypatch.delenv("CXRSCORE_WEIGHTS_MIRROR", raising=False)
    with servers.files() as running:
        running.files[f"/v1/{FILE}"] = DATA
        rad_dino = PUBLIC_WEIGHTS["rad-dino"]
        url = f"{running.url}/v1/{FILE}"
        entry = replace(rad_dino, name="tiny", file=FILE, url=url, architecture="tinycnn", size=64)
        monkeypatch.setitem(PUBLIC_WEIGHTS, "tiny", entry)
        yield running


@pytest.fixture
def cache(server, tmp_path):
    return tmp_path / "cache"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fetch(**changes):
    return fetch_weights(replace(PUBLIC_WEIGHTS["tiny"], **changes))


# --- what is known


@pytest.mark.parametrize("entry", PUBLIC_WEIGHTS.values(), ids=lambda entry: entry.name)
def test_every_entry_can_be_used(entry):
    assert entry.architecture in BUILT_IN
    assert entry.normalize in NORMALISATION_NAMES
    assert 32 <= entry.size <= 4096
    assert entry.url.startswith("https://")
    assert re.fullmatch(r"[A-Za-z0-9._-]+", entry.file)
    assert re.fullmatch(r"[a-z0-9_-]+", entry.name)
    assert entry.licence
    assert entry.trained_on


def test_names_and_files_are_different():
    for values in ({entry.name for entry in PUBLIC_WEIGHTS.values()}, {e.file for e in PUBLIC_WEIGHTS.values()}):
        assert len(values) == len(PUBLIC_WEIGHTS) == 18


@pytest.mark.parametrize(
    ("name", "findings"),
    [
        ("densenet121-res224-all", 18),
        ("densenet121-res224-nih", 14),
        ("densenet121-res224-pc", 15),
        ("densenet121-res224-chex", 11),
        ("densenet121-res224-rsna", 2),
        ("densenet121-res224-mimic_nb", 11),
        ("densenet121-res224-mimic_ch", 11),
        ("resnet50-res512-all", 16),
    ],
)
def test_outputs_that_were_never_trained_are_left_out(name, findings):
    entry = PUBLIC_WEIGHTS[name]
    assert len(entry.outputs) == len(XRV_OUTPUTS) == 18
    assert len(entry.findings) == findings
    assert [ours for ours, theirs in zip(entry.outputs, XRV_OUTPUTS, strict=True) if ours not in ("", theirs)] == []
    assert entry.use == "classifier"


def test_what_was_trained_on_one_set_only():
    assert PUBLIC_WEIGHTS["densenet121-res224-rsna"].findings == ("Pneumonia", "Lung Opacity")
    assert PUBLIC_WEIGHTS["densenet121-res224-nih"].findings == XRV_OUTPUTS[:14]
    assert PUBLIC_WEIGHTS["densenet121-res224-nih"].trained_on == ("NIH",)
    assert PUBLIC_WEIGHTS["resnet50-res512-all"].size == 512
    assert PUBLIC_WEIGHTS["rad-dino"].use == "backbone"


def test_torchvision_states_eight_digits_of_a_digest():
    stated = {entry.digest for entry in PUBLIC_WEIGHTS.values() if entry.publisher == "torchvision"}
    assert stated == {("sha256", word) for word in ("a639ec97", "b2777c0a", "c1103571", "0676ba61", "11ad3fa6")}


# --- names


def test_only_a_text_without_a_folder_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert public_weights("rad-dino") is PUBLIC_WEIGHTS["rad-dino"]
    for path in ("./rad-dino", "models/rad-dino", tmp_path / "rad-dino", "rad-dino.safetensors", "RAD-DINO", None, 3):
        assert public_weights(path) is None


def test_a_file_of_that_name_comes_first_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rad-dino").mkdir()
    assert public_weights("rad-dino") is not None
    (tmp_path / "rad-dino").rmdir()
    (tmp_path / "rad-dino").write_bytes(b"a file")
    assert public_weights("rad-dino") is None


def test_an_unknown_name_gets_those_that_are_alike(tmp_path):
    with pytest.raises(InputError, match=r"there are no public weights 'rad-dinos'\..* similar name: rad-dino"):
        known_weights("rad-dinos")
    with pytest.raises(
        InputError, match=r"there is no model at densenet121-res224-al.*similar name: densenet121-res22"
    ):
        load_model("densenet121-res224-al")
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "densenet121-res224-al")
    assert "similar" not in str(caught.value)
    with pytest.raises(InputError, match=r"there is no weights file at rad-dina.*similar name: rad-dino"):
        base_weights("rad-dina", "vit_b14")


def test_training_takes_what_goes_with_weights():
    assert training_defaults("rad-dino") == {"architecture": "vit_b14", "size": 518, "head": "cls"}
    assert training_defaults("resnet50-res512-all") == {"architecture": "resnet50v1.5", "size": 512}
    assert training_defaults("torchvision-resnet50-v2") == {"architecture": "resnet50v1.5"}
    assert training_defaults("imagenet") == training_defaults("model.safetensors") == {}


# --- download


def test_size_licence_and_source_are_said_before_the_first_byte(server, cache):
    said, steps = [], []
    entry = PUBLIC_WEIGHTS["tiny"]
    fetched = fetch_weights(
        entry, lambda line: said.append((line, cache.joinpath(FILE).exists())), lambda *step: steps.append(step)
    )
    ((line, there),) = said
    assert not there
    assert f"downloading tiny: a file of {len(DATA) / 1e6:.1f} MB, from {entry.url}; licence: MIT by its" in line
    assert steps[-1] == ("downloading tiny, kB", len(DATA) // 1000, len(DATA) // 1000)
    assert fetched.downloaded
    assert fetched.path.read_bytes() == DATA
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()


def test_a_second_call_asks_the_server_nothing(server, cache):
    fetch()
    assert not fetch().downloaded
    assert server.asked.total() == 1
    assert cached_file(PUBLIC_WEIGHTS["tiny"]) == cache / FILE
    assert names(cache) == [FILE, f"{FILE}.sha256"]
    assert (cache / f"{FILE}.sha256").read_text() == f"{hashlib.sha256(DATA).hexdigest()}  {FILE}\n"


def test_a_later_download_is_held_to_the_first(server, cache):
    fetch()
    (cache / FILE).unlink()
    server.files[f"/v1/{FILE}"] = OTHER
    with pytest.raises(
        FileFormatError, match=r"gave a file of SHA-256 .*, and the first download had .*remove .*sha256"
    ):
        fetch()
    assert names(cache) == [f"{FILE}.sha256"]
    server.files[f"/v1/{FILE}"] = DATA
    assert fetch().downloaded


def test_a_damaged_file_in_the_cache_is_downloaded_anew(server, cache, monkeypatch):
    fetch()
    (cache / FILE).write_bytes(DATA[:-1])
    assert fetch().downloaded
    (cache / FILE).write_bytes(DATA[:-1])
    monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    with pytest.raises(InputError, match=r"tiny\.safetensors is damaged, and CXRSCORE_OFFLINE forbids downloading"):
        fetch()


def test_the_first_digits_of_a_digest_are_checked(server, cache):
    digits = hashlib.sha256(DATA).hexdigest()[:8]
    assert fetch(digest=("sha256", digits)).downloaded
    (cache / FILE).unlink()
    (cache / f"{FILE}.sha256").unlink()
    server.files[f"/v1/{FILE}"] = OTHER
    with pytest.raises(FileFormatError, match=f"expected one that begins with {digits}, as its publisher states"):
        fetch(digest=("sha256", digits))
    assert names(cache) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>Log in to this network</html>", "gave a web page, expected a file of weights: .*log in"),
        (b"<\0\0\0\0\0\0\0{", "not a readable safetensors file"),
        (DATA[:-1000], "not a readable safetensors file"),
        (DATA[:5], "not a file of weights|not a readable"),
        (weights_bytes(0, "densenet121")[:100_000], "not a readable safetensors file"),
        (b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.", "refers to|cannot be used as"),
        (b"", "not a file of weights"),
    ],
    ids=["a page", "no page", "truncated", "five bytes", "another and truncated", "hostile", "empty"],
)
def test_a_first_download_that_holds_no_such_weights_is_not_kept(server, cache, data, words):
    server.files[f"/v1/{FILE}"] = data
    with pytest.raises(InputError, match=words):
        fetch()
    assert not (cache / FILE).exists()
    assert names(cache) == []
    server.files[f"/v1/{FILE}"] = DATA
    assert fetch().downloaded


@pytest.mark.slow
def test_another_network_is_not_kept(server, cache):
    server.files[f"/v1/{FILE}"] = weights_bytes(0, "densenet121")
    with pytest.raises(
        FileFormatError, match="a file with weights of densenet121, expected those of tinycnn: not used"
    ):
        fetch()
    assert names(cache) == []


def test_outputs_in_another_order_are_refused():
    entry = PUBLIC_WEIGHTS["densenet121-res224-nih"]
    module._check_outputs(entry, XRV_OUTPUTS, "it is")
    module._check_outputs(entry, (*XRV_OUTPUTS[:14], "", "", "", ""), "it is")
    module._check_outputs(entry, (), "it is")
    swapped = (XRV_OUTPUTS[1], XRV_OUTPUTS[0], *XRV_OUTPUTS[2:])
    with pytest.raises(FileFormatError, match="whose output 1 is Consolidation, expected Atelectasis"):
        module._check_outputs(entry, swapped, "it is")
    module._check_outputs(entry, swapped[:14], "it is")


def test_a_stopped_download_is_resumed_by_the_next_call(server, cache):
    server.faults[FILE] = servers.at_first("half", *["503"] * 5)
    with pytest.raises(InputError, match=r"downloading .* failed: the server answers with status 503, 6 times"):
        fetch()
    assert names(cache) == [f"{FILE}.part", f"{FILE}.part.json"]
    said = []
    fetch_weights(PUBLIC_WEIGHTS["tiny"], said.append)
    assert "MB are here already" in said[0]
    assert server.headers[-1]["Range"] == f"bytes={len(DATA) // 2}-"
    assert (cache / FILE).read_bytes() == DATA
    assert names(cache) == [FILE, f"{FILE}.sha256"]


@pytest.mark.parametrize("way", ["offline", "404", "too large"])
def test_without_the_file_an_error_says_which_from_where_and_to_where(server, cache, monkeypatch, way):
    if way == "offline":
        monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    if way == "404":
        del server.files[f"/v1/{FILE}"]
    if way == "too large":
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    url = PUBLIC_WEIGHTS["tiny"].url
    with pytest.raises(InputError) as caught:
        fetch()
    assert f"the file {FILE}: get it from {url} on a machine" in str(caught.value)
    assert f"put it into {cache} under that name" in str(caught.value)
    assert not cache.exists() or names(cache) == []
    assert server.asked.total() == (0 if way == "offline" else 1)


def test_a_file_that_was_put_into_the_cache_is_taken_checked_and_kept_to(server, cache, monkeypatch):
    monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    cache.mkdir()
    (cache / FILE).write_bytes(b"something else")
    with pytest.raises(FileFormatError, match=rf"{cache}/{FILE} is a file that cannot be used as tiny"):
        fetch()
    (cache / FILE).write_bytes(DATA)
    assert fetch().path == cache / FILE
    (cache / FILE).write_bytes(OTHER)
    with pytest.raises(InputError, match="is damaged, and CXRSCORE_OFFLINE"):
        fetch()


def test_a_cache_that_cannot_be_written_is_read(server, cache, monkeypatch):
    def refused(*args):
        raise WriteError("read-only")

    monkeypatch.setattr(module, "atomic_write_bytes", refused)
    cache.mkdir()
    (cache / FILE).write_bytes(DATA)
    assert fetch().path == cache / FILE
    assert names(cache) == [FILE]


def test_a_mirror_has_the_files_by_their_names(server, cache, monkeypatch):
    server.files = {f"/mirror/of/weights/{FILE}": DATA}
    for mirror in (f"{server.url}/mirror/of/weights/", f"{server.url}/mirror/of/weights?token=canary"):
        monkeypatch.setenv("CXRSCORE_WEIGHTS_MIRROR", mirror)
        said = []
        fetch_weights(PUBLIC_WEIGHTS["tiny"], said.append)
        assert f"from {server.url}/mirror/of/weights/{FILE};" in said[0]
        assert "canary" not in said[0]
        (cache / FILE).unlink()


@pytest.mark.parametrize("mirror", ["/mnt/weights", "file:///mnt/weights", "s3://bucket/weights", "mirror.hospital"])
def test_a_mirror_is_a_web_server(server, monkeypatch, mirror):
    monkeypatch.setenv("CXRSCORE_WEIGHTS_MIRROR", mirror)
    with pytest.raises(InputError, match="CXRSCORE_WEIGHTS_MIRROR is no URL of a web server, expected one such as"):
        fetch()


def test_a_process_waits_for_another_that_downloads(server, cache, monkeypatch):
    """The other process holds the lock, and has the file when it is asked for the second time."""
    held = iter([InputError("lock is held by process 7 on here."), None])
    real = module.file_lock

    def lock(path):
        if (error := next(held)) is not None:
            raise error
        (cache / FILE).write_bytes(DATA)
        return real(path)

    monkeypatch.setattr(module, "file_lock", lock)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    said = []
    assert not fetch_weights(PUBLIC_WEIGHTS["tiny"], said.append).downloaded
    assert said == ["waiting for another download of tiny: lock is held by process 7 on here."]
    assert server.asked.total() == 0


# --- first weights of a training


def test_training_starts_from_named_weights_and_knows_what_they_are(server, cache):
    base = base_weights("tiny", "tinycnn")
    assert base.name == "tiny"
    assert base.sha256 == hashlib.sha256(DATA).hexdigest()
    expected = safetensors.numpy.load(DATA)
    assert sorted(base.tensors) == sorted(expected)
    assert all(np.array_equal(base.tensors[name], expected[name]) for name in expected)
    assert base.origin == read_weights_info("tiny")
    assert (base.origin.normalize, base.origin.fit) == ("rad-dino", "crop")
    assert base.origin.trained_on == ("MIMIC-CXR", "CheXpert", "NIH", "PadChest", "BRAX")


def test_named_weights_of_another_network_are_refused_before_the_download(server):
    with pytest.raises(
        InputError, match="tiny are weights of tinycnn, expected those of resnet50: give --architecture"
    ):
        base_weights("tiny", "resnet50")
    assert server.asked.total() == 0


def test_what_weights_are_is_known_without_a_download(server):
    assert read_weights_info("densenet121-res224-nih").trained_on == ("NIH",)
    assert read_weights_info("torchvision-densenet121").trained_on == ()
    assert server.asked.total() == 0


def test_imagenet_names_others_for_a_network_that_keras_has_not():
    with pytest.raises(InputError, match=r"there are no ImageNet weights for 'resnet50v1\.5'.*resnet50-res512-all"):
        base_weights("imagenet", "resnet50v1.5")


# --- files with the structure of the published ones, of random numbers


def serve(server, monkeypatch, name, data, digest=None):
    """The entry of this name, with its file on the server of the tests."""
    entry = PUBLIC_WEIGHTS[name]
    server.files[f"/{entry.file}"] = data
    changed = replace(entry, url=f"{server.url}/{entry.file}", digest=digest or entry.digest)
    monkeypatch.setitem(PUBLIC_WEIGHTS, name, changed)
    return changed


@pytest.mark.slow
def test_rad_dino_as_transformers_saves_it(server, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    transformers.Dinov2Model(transformers.Dinov2Config(image_size=518)).save_pretrained(tmp_path)
    serve(server, monkeypatch, "rad-dino", (tmp_path / "model.safetensors").read_bytes())
    base = base_weights("rad-dino", "vit_b14")
    assert (base.name, base.origin.normalize, base.origin.fit) == ("rad-dino", "rad-dino", "crop")
    assert cached_file(PUBLIC_WEIGHTS["rad-dino"]) == cache / "rad-dino.safetensors"
    assert sum(tensor.size for tensor in base.tensors.values()) > 86e6


@pytest.mark.slow
def test_the_resnet_of_torchvision_without_its_thousand_classes(server, cache, monkeypatch, tmp_path):
    torch = pytest.importorskip("torch")
    import torch_nets

    torch.save(torch_nets.lively(torch_nets.ResNet()).state_dict(), tmp_path / "r.pth")
    data = (tmp_path / "r.pth").read_bytes()
    name = "torchvision-resnet50-v2"
    serve(server, monkeypatch, name, data)
    with pytest.raises(FileFormatError, match="expected one that begins with 11ad3fa6, as its publisher states"):
        base_weights(name, "resnet50v1.5")
    assert names(cache) == []
    serve(server, monkeypatch, name, data, ("sha256", hashlib.sha256(data).hexdigest()[:8]))
    base = base_weights(name, "resnet50v1.5")
    assert (base.name, base.origin.licence, base.origin.trained_on) == (name, "BSD-3-Clause", ())
    assert not [tensor for tensor in base.tensors if tensor.startswith("head/")]


@pytest.mark.slow
def test_the_file_of_keras_applications_by_either_of_its_names(server, cache, monkeypatch, tmp_path):
    """As Keras 2 wrote it: a group for each layer, with the names of its weights."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    tensors = initial_tensors(ModelSpec(architecture="densenet121", findings=("any",)), 0)
    layers = {}
    for place, value in tensors.items():
        if not place.startswith("head/"):
            layers.setdefault(place.rpartition("/")[0], {})[place] = value
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, values in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{place}:0".encode() for place in values]
            for place, value in values.items():
                group[f"{place}:0"] = value
    data = (tmp_path / "w.h5").read_bytes()
    serve(server, monkeypatch, "keras-densenet121", data, ("md5", hashlib.md5(data).hexdigest()))
    said = []
    base = base_weights("imagenet", "densenet121", say=said.append)
    assert "downloading imagenet of densenet121: a file of" in said[0]
    assert "licence: keras.applications, MIT" in said[0]
    named = base_weights("keras-densenet121", "densenet121")
    assert (base.name, named.name) == (PUBLIC_WEIGHTS["keras-densenet121"].file, "keras-densenet121")
    assert base.sha256 == named.sha256
    assert set(base.tensors) == {place for place in tensors if not place.startswith("head/")}
    assert all(np.array_equal(base.tensors[place], tensors[place]) for place in base.tensors)
    assert server.asked.total() == 1
