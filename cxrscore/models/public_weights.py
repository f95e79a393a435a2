"""Public weights by name: what is known of each file, where it is in the cache, and its download.

The names, files and preprocessing are facts published in the sources and model cards of the projects. torchxrayvision
publishes no digests; torchvision puts the first eight hex digits of the SHA-256 into the file name; keras.applications
publishes MD5s.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cxrscore.errors import FileFormatError, InputError, RemoteError, WriteError
from cxrscore.io import atomic_write_bytes, file_lock, make_folder, sha256_file
from cxrscore.io.atomic import atomic_replace, remove_special
from cxrscore.io.entries import cache_folder
from cxrscore.progress import Log, Progress, no_log, no_progress
from cxrscore.remote import RemotePath
from cxrscore.remote.web_download import WebDownload

if TYPE_CHECKING:
    from cxrscore.networks.graph import Normalize

XRV_OUTPUTS = (
    *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion"),
    *("Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture"),
    *("Lung Opacity", "Enlarged Cardiomediastinum"),
)
"""The 18 outputs of torchxrayvision's networks, in order. Networks trained on fewer findings have untrained outputs,
and their files do not say which."""
MAX_BYTES = 1 << 30
"""Bytes; a larger download is refused. The largest known file, RAD-DINO's, has a third of it."""
MIRROR = "CXRSCORE_WEIGHTS_MIRROR"
"""Environment variable: a URL under which a mirror has the files."""
_WAIT = 1800.0
"""Seconds to wait for another process that downloads the same file."""
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class PublicWeights:
    """A published file of weights.

    Attributes
    ----------
    name : str
        The name that the commands take.
    file : str
        Name of the file in the cache and on a mirror.
    url : str
        Where it is published.
    architecture : str
        Its network.
    size : int
        Side of the films it was trained on, pixels.
    fit, normalize : str
        How films are made square and normalised.
    licence : str
        As its publisher states it, with what else was met.
    trained_on : tuple of str
        Public data sets.
    publisher : str
        Project that publishes it.
    outputs : tuple of str
        Names of the outputs in order, "" for an output that was never trained; empty for a backbone without findings.
    digest : tuple of str, optional
        ("md5", hex) or ("sha256", the first hex digits), if published.
    """

    name: str
    file: str
    url: str
    architecture: str
    size: int
    fit: Literal["stretch", "crop"]
    normalize: Normalize
    licence: str
    trained_on: tuple[str, ...]
    publisher: str
    outputs: tuple[str, ...] = ()
    digest: tuple[str, str] | None = None

    @property
    def findings(self) -> tuple[str, ...]:
        """The trained outputs."""
        return tuple(filter(None, self.outputs))

    @property
    def use(self) -> Literal["classifier", "backbone"]:
        """Whether films can be scored with it, or a head must be trained first."""
        return "classifier" if self.outputs else "backbone"

    @property
    def of_films(self) -> bool:
        """Whether it was trained on radiographs, so that its film size is the one to use."""
        return self.trained_on != _IMAGENET

    @property
    def is_pinned(self) -> bool:
        """Whether a complete digest is published; otherwise that of the first download is kept."""
        return self.digest is not None and self.digest[0] == "md5"

    @property
    def path(self) -> Path:
        """Where a download is kept."""
        return cache_folder() / self.file

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; "cached" is the file in the cache, None if there is none."""
        found = cached_file(self)
        return {
            "name": self.name,
            "use": self.use,
            "architecture": self.architecture,
            "size": self.size,
            "findings": list(self.findings),
            "fit": self.fit,
            "normalize": self.normalize,
            "licence": self.licence,
            "trained_on": list(self.trained_on),
            "publisher": self.publisher,
            "url": self.url,
            "file": self.file,
            "digest": None if self.digest is None else ":".join(self.digest),
            "cached": None if found is None else str(found),
        }


# --- what is known

_IMAGENET = ("ImageNet",)
KERAS_LICENCE = "keras.applications, MIT"


def _xrv(
    name: str, file: str, trained_on: str, untrained: tuple[str, ...] = (), *, architecture: str = "densenet121"
) -> PublicWeights:
    return PublicWeights(
        name=name,
        file=file,
        url=f"https://github.com/mlmed/torchxrayvision/releases/download/v1/{file}",
        architecture=architecture,
        size=int(re.sub(r".*-res(\d+)-.*", r"\1", name)),
        fit="crop",
        normalize="signed-1024",
        licence="Apache-2.0, the licence of torchxrayvision's code",
        trained_on=tuple(trained_on.split(", ")),
        publisher="torchxrayvision",
        outputs=tuple("" if output in untrained else output for output in XRV_OUTPUTS),
    )


def _torchvision(name: str, architecture: str, file: str) -> PublicWeights:
    return PublicWeights(
        name=name,
        file=file,
        url=f"https://download.pytorch.org/models/{file}",
        architecture=architecture,
        size=224,
        fit="stretch",
        normalize="imagenet-rgb",
        licence="BSD-3-Clause",
        trained_on=_IMAGENET,
        publisher="torchvision",
        digest=("sha256", file.removesuffix(".pth").rpartition("-")[2]),
    )


def _keras(architecture: str, folder: str, md5: str) -> PublicWeights:
    file = f"{architecture}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return PublicWeights(
        name=f"keras-{architecture}",
        file=file,
        url=f"https://storage.googleapis.com/tensorflow/keras-applications/{folder}/{file}",
        architecture=architecture,
        size=224,
        fit="stretch",
        normalize="imagenet-caffe" if architecture == "resnet50" else "imagenet-rgb",
        licence=KERAS_LICENCE,
        trained_on=_IMAGENET,
        publisher="keras.applications",
        digest=("md5", md5),
    )


_D121 = "densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
_NOT_CHEXPERT = ("Infiltration", "Emphysema", "Fibrosis", "Pleural_Thickening", "Nodule", "Mass", "Hernia")
_RSNA = ("Pneumonia", "Lung Opacity")
_ALL = "NIH, PadChest, CheXpert, MIMIC-CXR, Google, OpenI, RSNA"

PUBLIC_WEIGHTS: dict[str, PublicWeights] = {
    entry.name: entry
    for entry in (
        _xrv("densenet121-res224-all", f"nih-pc-chex-mimic_ch-google-openi-kaggle-{_D121}", _ALL),
        _xrv("densenet121-res224-nih", f"nih-{_D121}", "NIH", XRV_OUTPUTS[-4:]),
        _xrv(
            "densenet121-res224-pc",
            f"pc-{_D121}",
            "PadChest",
            ("Lung Lesion", "Lung Opacity", "Enlarged Cardiomediastinum"),
        ),
        _xrv("densenet121-res224-chex", f"chex-{_D121}", "CheXpert", _NOT_CHEXPERT),
        _xrv(
            "densenet121-res224-rsna",
            f"kaggle-{_D121}",
            "RSNA",
            tuple(output for output in XRV_OUTPUTS if output not in _RSNA),
        ),
        _xrv("densenet121-res224-mimic_nb", f"mimic_nb-{_D121}", "MIMIC-CXR", _NOT_CHEXPERT),
        _xrv("densenet121-res224-mimic_ch", f"mimic_ch-{_D121}", "MIMIC-CXR", _NOT_CHEXPERT),
        _xrv(
            "resnet50-res512-all",
            "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt",
            "PadChest, NIH, RSNA, SIIM, VinDr",
            ("Lung Lesion", "Enlarged Cardiomediastinum"),
            architecture="resnet50v1.5",
        ),
        PublicWeights(
            name="rad-dino",
            file="rad-dino.safetensors",
            url="https://huggingface.co/microsoft/rad-dino/resolve/main/model.safetensors",
            architecture="vit_b14",
            size=518,
            fit="crop",
            normalize="rad-dino",
            licence="MIT by its model card, MSRLA by an older one; for research only, not for clinical practice",
            trained_on=("MIMIC-CXR", "CheXpert", "NIH", "PadChest", "BRAX"),
            publisher="Microsoft, on Hugging Face",
        ),
        _torchvision("torchvision-densenet121", "densenet121", "densenet121-a639ec97.pth"),
        _torchvision("torchvision-densenet169", "densenet169", "densenet169-b2777c0a.pth"),
        _torchvision("torchvision-densenet201", "densenet201", "densenet201-c1103571.pth"),
        _torchvision("torchvision-resnet50-v1", "resnet50v1.5", "resnet50-0676ba61.pth"),
        _torchvision("torchvision-resnet50-v2", "resnet50v1.5", "resnet50-11ad3fa6.pth"),
        _keras("densenet121", "densenet", "30ee3e1110167f948a6b9946edeeb738"),
        _keras("densenet169", "densenet", "b8c4d4c20dd625c148057b9ff1c1176b"),
        _keras("densenet201", "densenet", "c13680b51ded0fb44dff2d8f86ac8bb1"),
        _keras("resnet50", "resnet", "4d473c1dd8becc155b73f8504c6f6626"),
    )
}


# --- names


def public_weights(given: object) -> PublicWeights | None:
    """The weights that an argument names; None if it is a path.

    Only a text can be a name: a ``Path`` is a path. A file of that name in the current folder comes first.
    """
    entry = PUBLIC_WEIGHTS.get(given) if isinstance(given, str) else None
    return None if entry is None or os.path.isfile(entry.name) else entry


def known_weights(name: str) -> PublicWeights:
    """The weights of this name; InputError with the closest names if there are none."""
    entry = PUBLIC_WEIGHTS.get(name)
    if entry is None:
        raise InputError(f"there are no public weights {name[:80]!r}.{similar_names(name)}")
    return entry


def similar_names(given: str | Path) -> str:
    """A sentence with the names of public weights that an unknown one may stand for; "" for a path with a folder."""
    text = str(given)
    close = [] if "/" in text or os.sep in text else difflib.get_close_matches(text, PUBLIC_WEIGHTS, 3, 0.7)
    return f" Public weights with a similar name: {', '.join(close)} (`cxrscore weights` lists all)." if close else ""


def training_defaults(weights: str) -> Mapping[str, Any]:
    """Options of training that go with named weights: those to use for options that are not given."""
    entry = public_weights(weights)
    if entry is None:
        return {}
    chosen: dict[str, Any] = {"architecture": entry.architecture}
    if entry.of_films:
        chosen |= {"size": entry.size}
    if entry.architecture == "vit_b14":
        chosen |= {"head": "cls"}
    return chosen


# --- the cache


def cached_file(entry: PublicWeights) -> Path | None:
    """The file in the cache, or in that of Keras; None if there is none. Its content is not checked."""
    return next((place for place in _places(entry) if place.is_file()), None)


def _places(entry: PublicWeights) -> list[Path]:
    """Search paths of a file, in order."""
    if entry.publisher != "keras.applications":
        return [entry.path]
    keras_home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    ours = cache_folder() / f"{entry.architecture}_imagenet_notop.safetensors"
    return [ours, entry.path, keras_home / "models" / entry.file]


@dataclass(frozen=True, kw_only=True)
class FetchedWeights:
    """A file in the cache whose content is known to be the published one, or the one of the first download.

    downloaded  whether this call downloaded it
    """

    entry: PublicWeights
    path: Path
    sha256: str
    downloaded: bool = False


def fetch_weights(
    entry: PublicWeights, say: Log = no_log, progress: Progress = no_progress, *, name: str = ""
) -> FetchedWeights:
    """The file of public weights: from the cache, else downloaded completely or not at all.

    Parameters
    ----------
    entry
        The weights.
    say
        Called with size, licence and source before a download starts.
    progress
        Called as progress(step, done, total) in kilobytes, if the server states the size.
    name
        What to call the weights in messages; "": their name.

    Returns
    -------
    FetchedWeights

    Raises
    ------
    InputError
        If the file is not here and cannot be downloaded, or must not be (CXRSCORE_OFFLINE): with its name, where it is
        published and where to put it.
    FileFormatError
        If a download is another file than the published one, or than the first download. It is not kept.
    WriteError
        If the cache cannot be written.
    """
    name = name or entry.name
    if (found := _sound(entry)) is not None:
        return found
    where = _source(entry)
    if os.environ.get("CXRSCORE_OFFLINE"):
        damaged = f"{entry.path} is damaged, and " if entry.path.exists() else ""
        raise InputError(_missing(entry, name, where, f"{damaged}CXRSCORE_OFFLINE forbids downloading"))
    make_folder(entry.path.parent)
    with _alone(entry, say):
        if (found := _sound(entry)) is not None:  # another process has downloaded it in the meantime
            return found
        return _download(entry, name, where, say, progress)


def _sound(entry: PublicWeights) -> FetchedWeights | None:
    """The first file in the cache with the content that it must have; None if there is none, or only damaged ones."""
    for place in filter(Path.is_file, _places(entry)):
        if place.name != entry.file:
            return FetchedWeights(entry=entry, path=place, sha256=sha256_file(place))
        try:
            md5, sha256 = _digests(entry, place)
        except OSError:
            continue
        if _difference(entry, md5, sha256):
            continue
        if not entry.is_pinned and _pinned(entry) is None:  # put here by hand: checked as a first download is
            _check_content(entry, place, f"{place} is")
            with suppress(WriteError):  # a cache that others fill may be read-only
                _pin(entry, sha256)
        return FetchedWeights(entry=entry, path=place, sha256=sha256)
    return None


def _digests(entry: PublicWeights, path: Path) -> tuple[str, str]:
    """MD5 and SHA-256 of a file, hex; "" for the MD5 if none is published."""
    if not entry.is_pinned:
        return "", sha256_file(path)
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            md5.update(piece)
            sha256.update(piece)
    return md5.hexdigest(), sha256.hexdigest()


def _difference(entry: PublicWeights, md5: str, sha256: str) -> str:
    """What is wrong with a file of these digests; "" if nothing is."""
    kind, expected = entry.digest or ("sha256", "")
    if not (found := md5 if kind == "md5" else sha256).startswith(expected):
        begins = "" if kind == "md5" else "that begins with "
        return f"a file of {kind.upper()} {found}, expected one {begins}{expected}, as its publisher states"
    if not entry.is_pinned and (first := _pinned(entry)) not in (None, sha256):
        return (
            f"a file of SHA-256 {sha256}, and the first download had {first}. If the publisher replaced the file and "
            f"you trust the new one, remove {_pin_file(entry)}"
        )
    return ""


def _pin_file(entry: PublicWeights) -> Path:
    return entry.path.with_name(f"{entry.file}.sha256")


def _pinned(entry: PublicWeights) -> str | None:
    """SHA-256 of the first download; None if there was none."""
    try:
        text = _pin_file(entry).read_text("ascii", "replace")[:200]
    except OSError:
        return None
    word = text.split(" ", 1)[0].strip()
    if not _HEX.fullmatch(word):
        raise FileFormatError(f"{_pin_file(entry)} holds no SHA-256. Remove it, and {entry.path} is checked anew")
    return word


def _pin(entry: PublicWeights, sha256: str) -> None:
    """As sha256sum writes it, so that `sha256sum -c` checks the file."""
    atomic_write_bytes(_pin_file(entry), f"{sha256}  {entry.file}\n".encode())


@contextmanager
def _alone(entry: PublicWeights, say: Log) -> Iterator[None]:
    """Holds the lock of a download; waits for another process that does."""
    end, told = time.monotonic() + _WAIT, False
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(file_lock(entry.path.with_name(f"{entry.file}.lock")))
                break
            except InputError as error:
                if time.monotonic() > end:
                    raise
                if not told:
                    say(f"waiting for another download of {entry.name}: {error}")
                told = True
                time.sleep(1)
        yield


# --- download


def _source(entry: PublicWeights) -> RemotePath:
    """The URL of a file: its publisher's, or that of the mirror in the environment."""
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return RemotePath(entry.url)
    try:
        where = RemotePath(mirror)
    except InputError:
        where = None
    if where is None or not where.web:
        raise InputError(f"{MIRROR} is no URL of a web server, expected one such as https://mirror.hospital/weights/")
    return where / entry.file


def _download(entry: PublicWeights, name: str, where: RemotePath, say: Log, progress: Progress) -> FetchedWeights:
    part = entry.path.with_name(f"{entry.file}.part")
    remove_special(part)

    def started(total: int | None, there: int) -> None:
        size = "of a size that the server does not state" if total is None else f"of {total / 1e6:.1f} MB"
        resumed = f", of which {there / 1e6:.1f} MB are here already" if there else ""
        say(f"downloading {name}: a file {size}{resumed}, from {where}; licence: {entry.licence}")

    def received(done: int, total: int | None) -> None:
        if total:
            progress(f"downloading {name}, kB", done // 1000, total // 1000)

    download = WebDownload(where=where, part=part, most=MAX_BYTES, started=started, received=received)
    try:
        download.run()
    except RemoteError as error:
        raise InputError(_missing(entry, name, where, f"downloading {where} failed: {error.reason}")) from error
    try:
        _check_no_page(part, where)
        md5, sha256 = _digests(entry, part)
        if difference := _difference(entry, md5, sha256):
            raise FileFormatError(f"{where} gave {difference}: not used")
        if not entry.is_pinned:
            _check_content(entry, part, f"{where} gave")
            _pin(entry, sha256)
        atomic_replace(part, entry.path)
    finally:
        download.discard()
    return FetchedWeights(entry=entry, path=entry.path, sha256=sha256, downloaded=True)


def _check_no_page(path: Path, where: RemotePath) -> None:
    """FileFormatError for a web page: a network that asks for a login answers so in the place of every server."""
    with path.open("rb") as file:
        begins = file.read(1000)
    # The length at the beginning of a safetensors file may have the byte of "<", but has zeros behind it.
    if begins.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" and b"\0" not in begins:
        raise FileFormatError(
            f"{where} gave a web page, expected a file of weights: a proxy or the login page of this network may have "
            "answered. Open the URL in a browser on this machine, log in if it asks for that, then try again"
        )


def _check_content(entry: PublicWeights, path: Path, what: str) -> None:
    """FileFormatError unless the file holds the network that it should: a first download can be compared with nothing
    else."""
    from cxrscore.models.import_weights import read_weights_of

    try:
        found = read_weights_of(path, backbone_only=True)
    except InputError as error:
        raise FileFormatError(
            f"{what} a file that cannot be used as {entry.name}, weights of {entry.architecture}: "
            f"{str(error).replace(str(path), 'it')}"
        ) from error
    if found.network.name != entry.architecture:
        raise FileFormatError(
            f"{what} a file with weights of {found.network.name}, expected those of {entry.architecture}: not used"
        )
    _check_outputs(entry, found.outputs or (), what)


def _check_outputs(entry: PublicWeights, stated: tuple[str, ...], what: str) -> None:
    """FileFormatError if the file names its outputs in another order. Otherwise the names of the registry count, as in
    torchxrayvision: a file may name outputs that were never trained, or those of its data set only."""
    if not stated or len(stated) != len(entry.outputs):
        return
    for number, (ours, theirs) in enumerate(zip(XRV_OUTPUTS, stated, strict=True), start=1):
        if theirs != ours and theirs in XRV_OUTPUTS:
            raise FileFormatError(f"{what} a file whose output {number} is {theirs}, expected {ours}: not used")


def _missing(entry: PublicWeights, name: str, where: RemotePath, why: str) -> str:
    kind, digits = entry.digest or ("", "")
    digest = f" ({kind.upper() if kind == 'md5' else 'SHA-256 begins with'} {digits})" if digits else ""
    elsewhere = "" if str(where) == entry.url else f" or {where}"
    return (
        f"the weights {name} are not here: {why}. They are the file {entry.file}{digest}: get it from {entry.url}"
        f"{elsewhere} on a machine with network and put it into {cache_folder()} under that name."
    )
