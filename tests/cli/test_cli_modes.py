"""A whole run under umask 000: no file and no folder that it makes can be read by others."""

import os
import stat

import forked
import pytest

from cxrscore.synthetic.phantoms import make_phantoms

pytestmark = pytest.mark.slow

SMALL = ["--architecture", "tinycnn", "--weights", "none", "--size", "32", "--epochs", "1", "--backend", "torch"]
RUN = [
    ["train", "films", "-o", "new/a/m.safetensors", *SMALL, "--trainable", "last-block", "--processes", "2"],
    ["train", "films", "-o", "new/b/m.safetensors", *SMALL, "--trainable", "all"],
    *(
        ["score", "films", "-m", "new/b/m.safetensors", "-o", f"new/scores/{n}.h5", "--shard", f"{n}/2", "-j", "1"]
        for n in (1, 2)
    ),
    ["merge", "new/scores/1.h5", "new/scores/2.h5", "-o", "new/merged/out.h5"],
    ["merge", "new/scores/1.h5", "new/scores/2.h5", "-o", "new/scores/virtual.h5", "--virtual"],
    ["report", "new/merged/out.h5", "-o", "new/out.html", "--figures", "new/figures/of/run"],
    ["export", "new/merged/out.h5", "-o", "new/out.csv"],
    ["export", "new/merged/out.h5", "-o", "new/out.json"],
    ["quantize", "new/b/m.safetensors", "films", "-o", "new/int8.safetensors", "--backend", "openvino"],
    ["check", "--parity", "new/b/m.safetensors", "--backends", "torch"],
]


@pytest.mark.parametrize("library", [False, True], ids=["program", "library"])
def test_every_new_path_is_private(tmp_path, library):
    for module in ("torch", "openvino"):
        pytest.importorskip(module)
    make_phantoms(tmp_path, films=40, patients=20, side=32, seed=1)
    os.mkdir(tmp_path / "tmp")
    before = {*tmp_path.rglob("*")}
    own = {"CXRSCORE_CACHE": str(tmp_path / "home" / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    for words in RUN:
        done = forked.cxrscore(*words, cwd=tmp_path, env={**os.environ, **own}, umask=0, library=library)
        assert done.returncode == 0, done.stderr
    made = {*tmp_path.rglob("*")} - before
    if library:  # torch leaves an empty folder there, with the umask of the process
        made = {path for path in made if not path.is_relative_to(tmp_path / "tmp")}
    assert tmp_path / "home" / "cache" / "films" in made
    assert tmp_path / "new" / "figures" / "of" in made
    wanted = {path: 0o700 if path.is_dir() else 0o600 for path in made}
    assert {path: stat.S_IMODE(path.lstat().st_mode) for path in made} == wanted
