"""Films and scores files that lie elsewhere: addresses, reading with patience, writing whole or not at all."""

from cxrscore.remote.place import Place, RemotePath, address, is_url, place, without_secrets
from cxrscore.remote.store import INSTALL, Entry
from cxrscore.remote.transfer import (
    check_writable,
    download,
    list_remote,
    named,
    on_disk,
    read_remote,
    remote_exists,
    upload,
)

__all__ = [
    "INSTALL",
    "Entry",
    "Place",
    "RemotePath",
    "address",
    "check_writable",
    "download",
    "is_url",
    "list_remote",
    "named",
    "on_disk",
    "place",
    "read_remote",
    "remote_exists",
    "upload",
    "without_secrets",
]
