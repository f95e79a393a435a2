"""Runs the steps of the Containerfile without a container engine, then scores films in the result.

    sudo python3 tools/container_check.py FOLDER    # `make container-check`

It needs Debian, root (for chroot and mounts), Python 3.11, a network, and 5 GB in FOLDER, which must be new. Each
stage is a folder with /usr, /lib and /bin of this machine in the place of the base image. So this checks the steps, the
lock file, the user and the read-only root, but not the base image. In the result, a user without rights and without a
network runs the program as docs/container.md does: it scores, explains, reports, verifies and exports synthetic films
with OpenVINO. docs/container.md has the sizes that it prints.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ("usr", "lib", "lib32", "lib64", "bin", "sbin")
"""Folders of this machine that stand for those of the base image, read-only."""
PREFIX, USER, INSIDE = "opt/cxrscore", 10001, "CXRSCORE_CONTAINER_CHECK"
MATERIAL = """
from pathlib import Path
from made_models import made_model
from cxrscore.synthetic.phantoms import make_phantoms
make_phantoms(Path("."), films=24, side=128, seed=0)
made_model(Path("model.safetensors"), 0)
"""
"""A program that draws films and makes a small model with random tensors."""
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass
class Stage:
    """A stage of the build: its folder, environment, folder and user of its next step."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    folder: str = "/"
    user: str = ""
    entry: list[str] = field(default_factory=list)


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Containerfile, in order, with continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def build(text: str, folder: Path) -> Stage:
    """The last stage. A step that fails ends the program."""
    stages: dict[str, Stage] = {}
    stage = Stage(root=folder / "none")
    for word, rest in instructions(text):
        sys.stdout.write(f"{word} {rest[:100]}\n")
        sys.stdout.flush()
        if word == "FROM":
            name = rest.split()[-1] if " AS " in rest else "image"
            stage = stages[name] = Stage(root=new_root(folder / name))
        elif word == "COPY":
            copy(stage, stages, rest.split())
        elif word == "RUN":
            subprocess.run(inside(stage, ["/bin/sh", "-c", rest]), check=True, env=stage.env | network())
        else:
            settle(stage, word, rest)
    return stage


def settle(stage: Stage, word: str, rest: str) -> None:
    """An instruction that only changes how later steps run."""
    if word == "ENV":
        stage.env |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    elif word == "WORKDIR":
        stage.folder = rest
        (stage.root / rest[1:]).mkdir(parents=True, exist_ok=True)
    elif word == "USER":
        stage.user = rest
    elif word == "ENTRYPOINT":
        stage.entry = json.loads(rest)
    elif word not in ("ARG", "LABEL", "HEALTHCHECK", "CMD"):
        sys.exit(f"this program does not know {word}")


def new_root(root: Path) -> Path:
    """A root folder with the system of this machine."""
    for name in SHARED:
        source, target = Path("/", name), root / name
        if source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.readlink())
        elif source.is_dir():
            target.mkdir(parents=True)
            mount("--bind", str(source), str(target))
            mount("-o", "remount,ro,bind", str(target))
    for name in ("proc", "sys", "dev", "tmp", "opt"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    mount("--rbind", "/dev", str(root / "dev"))
    mount("--bind", "/proc", str(root / "proc"))
    mount("--bind", "/sys", str(root / "sys"))
    shutil.copytree("/etc", root / "etc", symlinks=True)
    return root


def copy(stage: Stage, stages: dict[str, Stage], words: list[str]) -> None:
    """COPY, as far as the Containerfiles use it: files into a folder that ends in /, or a folder as a folder."""
    source, ignored = ROOT, shutil.ignore_patterns("__pycache__")
    if words[0].startswith("--from="):
        source = stages[words.pop(0).partition("=")[2]].root
    target = stage.root / words[-1].lstrip("/")
    for word in words[:-1]:
        path = source / word.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, ignore=ignored if source == ROOT else None)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def inside(stage: Stage, command: list[str], *, offline: bool = False) -> list[str]:
    """A command line that runs a command in the stage."""
    who = ["--userspec", stage.user] if stage.user else []
    tools = {name: str(shutil.which(name)) for name in ("unshare", "chroot")}
    there = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', stage.folder]
    return [
        *((tools["unshare"], "--net") if offline else ()),
        *(tools["chroot"], *who, str(stage.root), *there, *command),
    ]


def network() -> dict[str, str]:
    """What the package installer needs of this machine's environment."""
    kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return {**kept, "PIP_CERT": CERTIFICATES, "PIP_CONFIG_FILE": "/dev/null", "PIP_ROOT_USER_ACTION": "ignore"}


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def use(image: Stage) -> None:
    """Runs the program as the image's user, with a read-only root and without a network."""
    root = image.root
    mount("--rbind", str(root), str(root))
    for name, mode in (("tmp", "1777"), ("cache", "1777"), ("work", "0755")):
        mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", str(root / name))
    for path in sorted((ROOT / "tests").glob("made_model*.py")):
        shutil.copy(path, root / "work")
    os.chown(root / "work", USER, USER)
    mount("-o", "remount,ro,bind", str(root))
    for place in ("/opt/cxrscore/x", "/x"):
        refused = subprocess.run(inside(image, ["touch", place]), env=image.env, capture_output=True, text=True)
        if "Read-only file system" not in refused.stderr:
            sys.exit(f"{place} is not read-only: {refused.stderr}")
    score = [*image.entry, "score", "films", "--backend", "openvino", "-o"]
    run(image, [*image.entry, "--version"])
    run(image, [*image.entry, "plugins"])
    run(image, ["python", "-c", MATERIAL])
    run(image, [*score, "out.h5", "--heatmaps", "2"])
    run(image, [*image.entry, "report", "out.h5"])
    run(image, [*image.entry, "verify", "out.h5", "--films", "films"])
    run(image, [*image.entry, "export", "out.h5", "-o", "out.parquet"])
    image.env["CXRSCORE_CACHE"] = "/none"  # as where no volume is mounted at /cache
    run(image, [*score, "other.h5", "--heatmaps", "0"])
    stranger = replace(image, user="4711:4711", folder="/tmp")  # as with --user, or a platform that draws user IDs
    stranger.env["PYTHONPATH"] = "/work"
    run(stranger, ["python", "-c", MATERIAL])
    run(stranger, [*score, "out.h5"])


def run(image: Stage, command: list[str]) -> None:
    """Runs a command without a network; if it fails, this program ends."""
    sys.stdout.write(f"$ {shlex.join(command)[:100]}\n")
    sys.stdout.flush()
    subprocess.run(inside(image, command, offline=True), env=image.env, check=True)


def sizes(image: Stage) -> None:
    """Prints what the image adds to its base: in all, and the largest packages."""
    told = subprocess.run(
        ["du", "--bytes", "--summarize", str(image.root / PREFIX)], check=True, capture_output=True, text=True
    )
    sys.stdout.write(f"/{PREFIX}: {int(told.stdout.split()[0]) / 1e6:.0f} MB\n")
    packages = next((image.root / PREFIX / "lib").glob("python3*")) / "site-packages"
    found = [
        (sum(file.stat().st_size for file in path.rglob("*") if file.is_file()), path.name)
        for path in packages.iterdir()
    ]
    for size, name in sorted(found, reverse=True)[:12]:
        sys.stdout.write(f"  {name:<32} {size / 1e6:7.1f} MB\n")


def main() -> None:
    if len(sys.argv) != 2 or os.geteuid() != 0 or sys.platform != "linux":
        sys.exit("usage, as root on Linux: container_check.py NEW_FOLDER")
    folder = Path(sys.argv[1]).resolve()
    if INSIDE not in os.environ:  # mounts of a namespace of its own end with it
        folder.mkdir(parents=True)
        again = ["unshare", "--mount", sys.executable, __file__, str(folder)]
        os.execvpe("unshare", again, {**os.environ, INSIDE: "1"})
    image = build((ROOT / "Containerfile").read_text(encoding="utf-8"), folder)
    sizes(image)
    use(image)
    sys.stdout.write(f"all steps passed; you can remove {folder}\n")


if __name__ == "__main__":
    main()
