"""A file object that hides write errors from libhdf5.

If a disk is full, libhdf5 crashes with SIGSEGV when it closes the file. So h5py writes to this object instead: it
records the first OSError, discards all later data, and raises the error after libhdf5 has closed the file.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from cxrscore.io.atomic import write_all


class ErrorTrappingFile(io.RawIOBase):
    """A new file for ``h5py.File(safe, "w")``: leaving the ``with`` block raises the OSError that was recorded."""

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._place = 0

    def check(self) -> None:
        """Raises the recorded error, to stop a long write early."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any, /) -> int:
        """Accepts all data; writes it unless an earlier call failed."""
        view = memoryview(data).cast("B")
        if self.error is None:
            try:
                os.lseek(self._descriptor, self._place, os.SEEK_SET)
                write_all(self._descriptor, view)
            except OSError as error:
                self.error = error
        self._place += view.nbytes
        return view.nbytes

    def readinto(self, buffer: Any, /) -> int:
        """Fills the buffer, with zeros after an error."""
        view = memoryview(buffer).cast("B")
        try:
            data = os.pread(self._descriptor, view.nbytes, self._place)
        except OSError as error:
            self.error = self.error or error
            data = b""
        view[:] = data.ljust(view.nbytes, b"\0")
        self._place += view.nbytes
        return view.nbytes

    def truncate(self, size: int | None = None, /) -> int:
        """Sets the length, unless an earlier call failed."""
        length = self._place if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, length)
            except OSError as error:
                self.error = error
        return length

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Sets the position of the next read or write."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: os.fstat(self._descriptor).st_size}
        self._place = start[whence] + offset
        return self._place

    def tell(self) -> int:
        """The position of the next read or write."""
        return self._place

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Closes the file; further calls do nothing."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
        if self.error is not None:
            raise self.error from error
