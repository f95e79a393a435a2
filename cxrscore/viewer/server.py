"""Runs the application: opens the files, takes a port, and serves until Ctrl-C."""

from __future__ import annotations

import errno
import html
import importlib
import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrscore.errors import CxrscoreError, InputError
from cxrscore.io import atomic_write_bytes
from cxrscore.remote import Location, PathOrUrl, as_local_path

if TYPE_CHECKING:
    from cxrscore.labels import Box
    from cxrscore.scorefile.by_row import ScoresByRow
    from cxrscore.viewer.marking import Marking
    from cxrscore.viewer.viewer import Viewer

INSTALL = 'pip install "cxrscore[view]"'
LOOPBACK = "127.0.0.1"
MOST_FILES = 8
MOST_CONNECTIONS = 64
"""Connections at a time; more are answered with 503."""


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Options of ``cxrscore view``.

    Attributes
    ----------
    scores : sequence of path or URL
        Scores files; the films of the first are listed, and compared with the others.
    films : path, URL or None
        The folder that was scored, or an archive.
    bounding_boxes : path or None
        Table of boxes of readers.
    model : sequence of path
        The model that made the scores, for maps that the file does not have.
    backend : str or None
        Backend that computes these maps.
    host : str
        Name or address by which browsers reach this server.
    port : int
        0: any free one.
    certificate, key : path or None
        Files in PEM format, for https.
    insecure : bool
        Serve other machines without encryption.
    marks : path or None
        The marks file; None: beside the first scores file.
    reader : str or None
        Name of the reader, who else is asked.
    blinded : bool
        Hide scores, labels and marks of others from all readers until they have marked a film.
    queue : path or None
        A table of ``cxrscore queue``, whose films are to be read.
    """

    scores: Sequence[Location]
    films: PathOrUrl | None = None
    bounding_boxes: Path | None = None
    model: Sequence[Path] = ()
    backend: str | None = None
    host: str = LOOPBACK
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False
    marks: Path | None = None
    reader: str | None = None
    blinded: bool = False
    queue: Path | None = None


def serve(options: ViewOptions, ready: Callable[[str], None], log: Callable[[str], None] | None = None) -> None:
    """Serves until the process gets a signal.

    Parameters
    ----------
    options : ViewOptions
    ready : callable
        Called once with the first address, when the server answers.
    log : callable, optional
        Called with a line for each request, which has no address.

    Raises
    ------
    InputError
        If a file, the host or the port cannot be used, or starlette or uvicorn is not installed.
    FileFormatError
        If a scores file is damaged.
    """
    for name in ("starlette", "uvicorn"):
        _require(name)
    check_host(options)
    _check_certificate(options)
    with open_viewer(options) as viewer, _listening(options.host, options.port) as listening:
        from cxrscore.viewer.app import create_app
        from cxrscore.viewer.security import Access

        port = listening.getsockname()[1]
        scheme = "http" if options.certificate is None else "https"
        hosts = allowed_hosts(options.host, port)
        access = Access(hosts=hosts, scheme=scheme, cookie=f"cxrscore_view_{port}")
        app = create_app(viewer, access, log)
        address = f"{scheme}://{hosts[0]}/?token={access.token}"
        _run(app, listening, options, lambda: ready(address))


@contextmanager
def open_viewer(options: ViewOptions) -> Iterator[Viewer]:
    """The state of the application, of open files. Errors as serve."""
    from cxrscore.labels import read_boxes
    from cxrscore.reporting.boxes import boxes_on_films
    from cxrscore.scorefile.by_row import open_by_row
    from cxrscore.viewer.film_files import FilmFiles, check_films
    from cxrscore.viewer.film_index import FilmIndex
    from cxrscore.viewer.heat_maps import HeatMapSource, load_model
    from cxrscore.viewer.reading_queues import QueueSources, ReadingQueues
    from cxrscore.viewer.viewer import Viewer

    if len(options.scores) > MOST_FILES:
        raise InputError(f"{len(options.scores)} scores files are named, expected at most {MOST_FILES}")
    if options.model and options.films is None:
        raise InputError("--model computes heat maps of films: name the folder of the films with --films, too")
    if options.films is not None:
        check_films(options.films)
    with ExitStack() as stack:
        paths = [stack.enter_context(as_local_path(location)) for location in options.scores]
        files = [stack.enter_context(open_by_row(path)) for path in paths]
        first = files[0]
        model = load_model(first, options.model, options.backend) if options.model else None
        if model is not None:
            stack.callback(model.close)
        films = FilmFiles(first, options.films)
        stack.callback(films.close)
        boxes: Mapping[tuple[int, int], Sequence[Box]] = {}
        if options.bounding_boxes is not None:
            boxes, _ = boxes_on_films(read_boxes(options.bounding_boxes), first, first.findings)
        marking = _marking(options, first)
        stack.callback(marking.log.close)
        sources = QueueSources(scores=paths, films=options.films, model=options.model, backend=options.backend)
        queues = ReadingQueues(marking, sources, options.queue)
        start_in_background(first.map_scale)
        yield Viewer(
            names=file_names(options.scores),
            files=files,
            index=FilmIndex(files),
            films=films,
            maps=HeatMapSource(first, films, model),
            marking=marking,
            queues=queues,
            boxes=boxes,
        )


def _marking(options: ViewOptions, scores: ScoresByRow) -> Marking:
    """The marks on the films of the first scores file. InputError and FileFormatError for options or a marks file that
    cannot be used."""
    from cxrscore.marks import ReadingSession, marks_path
    from cxrscore.viewer.marking import Marking
    from cxrscore.viewer.marks_log import MarksLog

    if options.blinded and options.films is None:
        raise InputError("--blinded hides scores and heat maps: name the folder of the films with --films, too")
    if options.reader is not None:
        ReadingSession(reader=options.reader)
    first, path, reason = options.scores[0], options.marks, ""
    if path is None and isinstance(first, Path):
        path = marks_path(first)
    elif path is None:
        reason = (
            "the scores file is on another machine, so that there is no place beside it: name one with --marks FILE"
        )
    log = MarksLog(path, reason)
    if path is not None:
        log.refresh()
    return Marking(scores, log, reader=options.reader or "", blinded=options.blinded)


def file_names(given: Sequence[Location]) -> list[str]:
    """The names of files; of those with the same name with the folder, or the number where that is the same, too."""
    names = [str(one).rstrip("/").rpartition("/")[2] for one in given]
    longer = [f"{one.absolute().parent.name}/{one.name}" if isinstance(one, Path) else "" for one in given]
    found = [name if names.count(name) == 1 else more for name, more in zip(names, longer, strict=True)]
    unclear = [not name or found.count(name) > 1 for name in found]
    return [f"{names[n]} ({n + 1})" if unclear[n] else name for n, name in enumerate(found)]


def check_host(options: ViewOptions) -> None:
    """InputError unless other machines are served with encryption, or without it on request."""
    if (options.certificate is None) != (options.key is None):
        raise InputError("--certificate and --key belong together: expected both or none")
    if is_loopback(options.host):
        return
    with suppress(ValueError):
        if ipaddress.ip_address(options.host).is_unspecified:
            raise InputError(f"--host {options.host} stands for all addresses; name the one that browsers will use")
    if options.certificate is None and not options.insecure:
        raise InputError(
            f"--host {options.host} lets other machines see the films: give --certificate and --key for https, or "
            "--insecure if the network is trusted"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server at this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, port: int) -> list[str]:
    """Values that the Host header may have; the first is that of the address that is printed."""
    written = f"[{host}]" if ":" in host else host.lower()
    names = dict.fromkeys([written, *(("localhost", LOOPBACK) if is_loopback(host) else ())])
    usual = list(names) if port in (80, 443) else []
    return [*(f"{name}:{port}" for name in names), *usual]


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. InputError if the port is used, or the host is not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(MOST_CONNECTIONS)
        except (OSError, UnicodeError) as error:
            raise _bind_error(host, port, error) from None
        yield listening


def _bind_error(host: str, port: int, error: OSError | UnicodeError) -> InputError:
    code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        return InputError(f"port {port} is in use; choose another with --port, or leave --port out for a free one")
    if code == errno.EACCES:
        return InputError(f"port {port} needs the rights of an administrator; choose one above 1023")
    return InputError(
        f"cannot listen at {host}: {getattr(error, 'strerror', None) or 'not an address of this machine'}"
    )


def _check_certificate(options: ViewOptions) -> None:
    """InputError if there is a certificate that cannot be used."""
    if options.certificate is None or options.key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.certificate, options.key, password=_no_password)
    except (OSError, ssl.SSLError):
        raise InputError(
            f"{options.certificate} and {options.key} are not a certificate and its key in PEM format without password"
        ) from None


def _no_password() -> str:
    """Instead of a question on the terminal."""
    return ""


def make_server(app: Any, options: ViewOptions) -> Any:
    """A server of uvicorn for the application."""
    uvicorn = _require("uvicorn")
    from cxrscore.viewer.connections import TimedProtocol
    from cxrscore.viewer.security import LONGEST_HEADERS

    # Its messages would quote addresses.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        http=TimedProtocol,
        loop="asyncio",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=LONGEST_HEADERS,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )
    return uvicorn.Server(config)


def _run(app: Any, listening: socket.socket, options: ViewOptions, ready: Callable[[], None]) -> None:
    server = make_server(app, options)
    started = server.startup

    async def startup(sockets: Any = None) -> None:
        await started(sockets=sockets)
        ready()

    server.startup = startup
    server.run(sockets=[listening])


def _require(name: str) -> Any:
    """A module of the extra view; InputError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"`cxrscore view` needs {name}, which is not installed. Install it with: {INSTALL}") from None


def open_browser(address: str, folder: Path) -> None:
    """Opens the user's browser. A file in a private folder leads it to the address: the arguments of a program can be
    seen by all users of a machine, so that the token must not be among them."""
    import webbrowser

    page = folder / "open.html"
    atomic_write_bytes(page, _OPENER.format(html.escape(address)).encode())
    start_in_background(lambda: webbrowser.open(page.as_uri()))


_OPENER = (
    '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta http-equiv="refresh" content="0; url={0}"><title>cxrscore view</title><p><a href="{0}">Open</a></p></html>'
)


def start_in_background(function: Callable[[], object]) -> None:
    """Runs something that a later request would wait for; its errors come again in that request."""

    def run() -> None:
        with suppress(CxrscoreError):
            function()

    threading.Thread(target=run, name="cxrscore-view", daemon=True).start()
