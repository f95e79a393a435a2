"""A sink that stores objects in an archive by STOW-RS, in batches of limited size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cxrscore.errors import RemoteError, WriteError
from cxrscore.export.dicom.objects import DicomObject
from cxrscore.export.dicom.source import module
from cxrscore.remote import RemotePath

if TYPE_CHECKING:
    from cxrscore.remote.dicomweb_session import DicomwebSession

BATCH_BYTES, BATCH_OBJECTS = 16 << 20, 32
"""Largest batch. It bounds the memory and the time until the answer, for which a session waits 30 seconds."""
REFUSED = "refused"


class ArchiveSink:
    """Stores objects in an archive.

    Parameters
    ----------
    where : RemotePath
        The DICOMweb service.
    rerun : str
        How to run the command again, for the message of an error.

    Raises
    ------
    InputError
        If the credentials are not valid, or a package is missing.
    """

    def __init__(self, where: RemotePath, rerun: str = "a rerun of the command") -> None:
        module("requests")
        self._where, self._rerun = where, rerun
        self._open().close()  # reports invalid credentials before anything is made
        self._waiting: dict[str, tuple[DicomObject, str]] = {}
        self._bytes = 0
        self._stored: Counter[str] = Counter()
        self._refused: list[tuple[str, str]] = []

    def put(self, made: DicomObject, film: str) -> None:
        """Sends the objects that wait, once they are a full batch; WriteError if the archive cannot be reached."""
        if self._waiting and (self._bytes + len(made.data) > BATCH_BYTES or len(self._waiting) == BATCH_OBJECTS):
            self._send()
        self._waiting[made.uid] = made, film
        self._bytes += len(made.data)

    def close(self) -> None:
        """Sends the rest; errors as put."""
        if self._waiting:
            self._send()

    @property
    def stored(self) -> Mapping[str, int]:
        """Number of objects by what the archive did with them."""
        return dict(self._stored)

    @property
    def failed(self) -> Sequence[tuple[str, str]]:
        """The films of refused objects, with the reasons."""
        return self._refused

    def _open(self) -> DicomwebSession:
        from cxrscore.remote.dicomweb_session import open_session
        from cxrscore.remote.dicomweb_stow import MAX_ANSWER

        return open_session(self._where, max_bytes=MAX_ANSWER)

    def _send(self) -> None:
        """Sends one batch in a session of its own, so that none stays open, however the export ends."""
        from cxrscore.remote.dicomweb_stow import store_objects

        batch, self._waiting, self._bytes = self._waiting, {}, 0
        try:
            with self._open() as session:
                outcomes = store_objects(session, self._where, {uid: made.data for uid, (made, _) in batch.items()})
        except RemoteError as error:
            there = sum(count for text, count in self._stored.items() if text != REFUSED)
            raise WriteError(
                f"cannot store in {self._where}: {error.reason}. {there} objects are stored; {self._rerun} stores "
                "the others, and none twice."
            ) from None
        for uid, outcome in outcomes.items():
            self._stored[outcome.text if outcome.is_stored else REFUSED] += 1
            if not outcome.is_stored:
                made, film = batch[uid]
                self._refused.append((film, f"the archive refuses the {made.kind.title}: {outcome.text}"))
