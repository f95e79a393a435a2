"""Connections that ask nothing are closed: each takes one of the places of the server, and needs no token for it."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SILENT_SECONDS = 10.0
"""A connection without a complete request is closed after this time at the earliest, after twice this time at the
latest."""


class TimedProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn, which waits without end for the head of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look after the connection."""
        super().connection_made(transport)
        self._last: object = self
        self._look = self.loop.call_later(SILENT_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._look.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        """Close the connection if nothing was under way at two looks, and no request came in between."""
        is_busy = self.cycle is not None and not self.cycle.response_complete
        done = self if is_busy else self.cycle
        if not is_busy and done is self._last:
            self.transport.close()
            return
        self._last = done
        self._look = self.loop.call_later(SILENT_SECONDS, self._close_if_silent)
