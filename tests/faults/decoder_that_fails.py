"""A decoding process that dies or hangs on films of certain names; images.decoder_pool starts it in a test."""

import os
import signal
import sys
from pathlib import Path

from cxrscore.images import worker

sound = worker.load_film


def prepare(path, *given, **options):
    if path.name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name.startswith("once") and not (mark := path.with_suffix(".mark")).exists():
        Path(mark).touch()
        os._exit(3)
    if path.name.startswith("hang"):
        signal.pause()
    if path.name.startswith("greedy"):
        return bytearray(worker.MEMORY)
    if path.name.startswith("babble"):
        os.write(1, b"a codec that prints" * 100)
        sys.stdout.write("and more")
    return sound(path, *given, **options)


worker.load_film = prepare
worker.main()
