"""ImageNet weights: found, downloaded from a server on loopback, checked by hash, or asked for by name."""

import hashlib
import http.server
import threading
from dataclasses import replace

import h5py
import numpy as np
import pytest
import safetensors.numpy
from made_models import made_model

from cxrscore.contract import ModelSpec
from cxrscore.errors import FileFormatError, InputError, WriteError
from cxrscore.models.imagenet import WeightsInfo, base_weights, read_weights_info, weights_file
from cxrscore.models.model_file import load_model
from cxrscore.models.public_weights import PUBLIC_WEIGHTS
from cxrscore.networks.tensors import initial_tensors


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("CXRSCORE_OFFLINE", raising=False)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def write_keras_h5(path):
    """A file of the layout that keras.applications publishes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", b"conv1/bn"]
        file.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        group = file.create_group("conv1/bn")
        group.attrs["weight_names"] = [b"conv1/bn/gamma:0", b"conv1/bn/moving_mean:0"]
        group["conv1/bn/gamma:0"] = np.arange(4, dtype=np.float32)
        group["conv1/bn/moving_mean:0"] = np.ones(4, np.float32)


@pytest.fixture
def server(tmp_path):
    """Serves a Keras weights file on loopback; yields its URL and MD5."""
    write_keras_h5(tmp_path / "served.h5")
    data = (tmp_path / "served.h5").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/w.h5" else 404)
            self.send_header("Content-Length", str(len(data) if self.path == "/w.h5" else 0))
            self.end_headers()
            if self.path == "/w.h5":
                self.wfile.write(data)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", hashlib.md5(data).hexdigest()
        httpd.shutdown()
        thread.join()


def point_to(monkeypatch, url, md5):
    entry = replace(PUBLIC_WEIGHTS["keras-densenet121"], url=url, digest=("md5", md5))
    monkeypatch.setitem(PUBLIC_WEIGHTS, entry.name, entry)


def imagenet_file(architecture):
    return weights_file("imagenet", architecture)


def test_the_file_is_downloaded_checked_and_kept(cache, server, monkeypatch):
    url, md5 = server
    point_to(monkeypatch, f"{url}/w.h5", md5)
    weights = base_weights("imagenet", "densenet121")
    assert weights.tensors["conv1_bn/gamma"].tolist() == [0, 1, 2, 3]
    assert sorted(weights.tensors) == ["conv1_bn/gamma", "conv1_bn/moving_mean"]
    point_to(monkeypatch, "http://127.0.0.1:9/gone", md5)
    assert imagenet_file("densenet121").parent == cache  # the second time it is there


def test_another_file_than_the_published_one_is_not_kept(cache, server, monkeypatch):
    url, _ = server
    point_to(monkeypatch, f"{url}/w.h5", "0" * 32)
    with pytest.raises(FileFormatError, match="MD5"):
        base_weights("imagenet", "densenet121")
    assert list(cache.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_downloaded_anew(cache, server, monkeypatch):
    url, md5 = server
    point_to(monkeypatch, f"{url}/w.h5", md5)
    path = imagenet_file("densenet121")
    data = bytearray(path.read_bytes())
    at = data.find(np.arange(4, dtype=np.float32).tobytes())
    data[at + 4] ^= 1
    path.write_bytes(data)
    assert base_weights("imagenet", "densenet121").tensors["conv1_bn/gamma"].tolist() == [0, 1, 2, 3]
    path.write_bytes(data)
    monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    with pytest.raises(InputError, match=r"notop\.h5 is damaged, and CXRSCORE_OFFLINE forbids downloading"):
        base_weights("imagenet", "densenet121")


def test_a_damaged_file_of_keras_is_passed_over_and_left_alone(cache, server, tmp_path, monkeypatch):
    url, md5 = server
    point_to(monkeypatch, f"{url}/w.h5", md5)
    theirs = tmp_path / "keras" / "models" / PUBLIC_WEIGHTS["keras-densenet121"].file
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"damaged")
    assert imagenet_file("densenet121").parent == cache
    assert theirs.read_bytes() == b"damaged"


def test_a_cache_that_cannot_be_made_is_an_error_of_writing(tmp_path, server, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "file" / "cache"))
    point_to(monkeypatch, f"{server[0]}/w.h5", server[1])
    with pytest.raises(WriteError, match="cannot make the folder"):
        base_weights("imagenet", "densenet121")


@pytest.mark.parametrize("way", ["offline", "missing"])
def test_without_network_it_says_which_file_and_where(cache, server, monkeypatch, way):
    if way == "offline":
        monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    else:
        point_to(monkeypatch, f"{server[0]}/nothing", "0" * 32)
    with pytest.raises(InputError, match=rf"densenet121_weights.*notop\.h5.*{cache}"):
        base_weights("imagenet", "densenet121")
    assert list(cache.iterdir()) == []


def test_the_cache_is_looked_into_first(cache, monkeypatch):
    monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    tensors = {"conv1/kernel": np.ones((1, 1, 1, 1), np.float16), "head/bias": np.ones(2, np.float32)}
    path = cache / "resnet50_imagenet_notop.safetensors"
    path.write_bytes(safetensors.numpy.save(tensors))
    assert list(base_weights("imagenet", "resnet50").tensors) == ["conv1/kernel"]


def test_other_choices(cache, tmp_path):
    assert base_weights("none", "densenet121") is None
    with pytest.raises(InputError, match=r"nothing.h5"):
        base_weights(str(tmp_path / "nothing.h5"), "densenet121")
    with pytest.raises(InputError, match="tinycnn"):
        base_weights("imagenet", "tinycnn")
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(FileFormatError, match=r"x.safetensors"):
        base_weights(str(tmp_path / "x.safetensors"), "densenet121")


def test_a_model_file_tells_what_its_weights_have_seen(tmp_path):
    path = made_model(tmp_path / "m.safetensors", 0, fit="crop", licence="CC BY 4.0")
    weights = base_weights(str(path), "tinycnn")
    assert weights.origin == read_weights_info(str(path))
    assert weights.origin.seen == {"a" * 16: "train", "b" * 16: "valid"}
    assert (weights.origin.licence, weights.origin.normalize, weights.origin.fit, weights.origin.has_leakage) == (
        *("CC BY 4.0", "imagenet-rgb", "crop"),
        False,
    )
    assert not any(name.startswith("head/") for name in weights.tensors)
    tensors = {**load_model(path).tensors, "stem/kernel": np.zeros(1, np.float32)}
    with safetensors.safe_open(path, framework="numpy") as file:
        path.write_bytes(safetensors.numpy.save(tensors, metadata=file.metadata()))
    with pytest.raises(FileFormatError, match="checksum"):
        base_weights(str(path), "tinycnn")


def test_weights_of_another_network_are_refused_with_both_names(tmp_path):
    path = made_model(tmp_path / "m.safetensors", 0)
    with pytest.raises(
        InputError, match=r"weights of tinycnn, expected those of resnet50: give --architecture tinycnn"
    ):
        base_weights(str(path), "resnet50")


def test_weights_without_a_document_tell_nothing(cache, tmp_path):
    tensors = initial_tensors(ModelSpec(architecture="tinycnn", findings=("any",), size=64), 0)
    (tmp_path / "plain.safetensors").write_bytes(safetensors.numpy.save(tensors))
    origin = base_weights(str(tmp_path / "plain.safetensors"), "tinycnn").origin
    assert origin == read_weights_info(str(tmp_path / "plain.safetensors"))
    assert origin == WeightsInfo(licence="unknown", normalize="imagenet-rgb", fit="stretch")
    assert read_weights_info("imagenet").licence.startswith("keras.applications")
    assert read_weights_info("none").seen == {}


@pytest.mark.shared
@pytest.mark.parametrize("architecture", ["densenet121", "resnet50"])
def test_the_real_weights_fit_the_network(shared, architecture):
    path = shared / "weights" / f"{architecture}_imagenet_notop.safetensors"
    spec = ModelSpec(architecture=architecture, findings=("a",))
    tensors = initial_tensors(spec, 0, base_weights(str(path), architecture).tensors)
    assert all(np.isfinite(t).all() and t.dtype == np.float32 for t in tensors.values())
