"""The application: the routes of all pages behind the guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from cxrscore.errors import FileFormatError
from cxrscore.viewer import cohort_page, film_page, list_page, marks_page
from cxrscore.viewer.security import Access, Guard
from cxrscore.viewer.viewer import Viewer

_FOLDER = Path(__file__).parent
_STYLES = (_FOLDER.parent / "reporting" / "base.css", _FOLDER / "view.css")


class RouteModule(Protocol):
    """A module with routes; it may also have SECTION, a title and an address for the head of all pages, and
    HIDES_SCORES, if it hides from blinded readers itself what they may not see: else they get none of its answers."""

    def routes(self, viewer: Viewer) -> list[BaseRoute]: ...


MODULES: Sequence[RouteModule] = (list_page, film_page, cohort_page, marks_page)
"""The pages of the application."""


def create_app(viewer: Viewer, access: Access, log: Callable[[str], None] | None = None) -> ASGIApp:
    """The application.

    Parameters
    ----------
    viewer : Viewer
        What the pages show.
    access : Access
        Who may ask.
    log : callable, optional
        Called with a line for each request: method, name of the page and status.
    """
    for page in (
        "list.html.j2",
        "film.html.j2",
        "cohort.html.j2",
        "cohort_finding.html.j2",
        "marks.html.j2",
    ):  # compiled here, so that no first request waits for it
        viewer.templates.get_template(page)
    routes: list[BaseRoute] = _static_routes()
    for module in MODULES:
        own = module.routes(viewer)
        routes += own if getattr(module, "HIDES_SCORES", False) else [_hidden(viewer, route) for route in own]
        section = getattr(module, "SECTION", None)
        if section and section not in viewer.sections:
            viewer.sections.append(section)
    handlers: Mapping[type[Exception], Callable[[Request, Exception], Response]] = {
        HTTPException: _refused,
        FileFormatError: _damaged,
    }
    return Guard(ExceptionMiddleware(Router(routes, redirect_slashes=False), handlers), access, log)


def _hidden(viewer: Viewer, route: BaseRoute) -> BaseRoute:
    """A route that does not answer blinded readers."""
    assert isinstance(route, Route)
    app = route.app

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if viewer.marking.reading(Request(scope)).blinded:
            raise HTTPException(403, "Blinded reading: this page is hidden, because it follows from scores or labels.")
        await app(scope, receive, send)

    route.app = answer
    return route


def _static_routes() -> list[BaseRoute]:
    """Style and script: two texts that are read once."""
    style = "\n".join(path.read_text(encoding="utf-8") for path in _STYLES)
    scripts = {name: (_FOLDER / name).read_text(encoding="utf-8") for name in ("view.js", "marks.js")}

    def view_style(request: Request) -> Response:
        return Response(style, media_type="text/css")

    def view_script(request: Request) -> Response:
        return Response(scripts[request.url.path[1:]], media_type="text/javascript")

    return [Route("/view.css", view_style), *(Route(f"/{name}", view_script) for name in scripts)]


def _refused(request: Request, error: Exception) -> Response:
    """The reason of an HTTPException in words. The framework's own reasons name no part of the address."""
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


def _damaged(request: Request, error: Exception) -> Response:
    return PlainTextResponse("The scores file is damaged at this film. `cxrscore verify` tells more.\n", 500)
