"""A decoding process that ends when it has two orders, the first time that it is started in this folder, and after some
of its answer to the first one; a test starts it."""

import os
import sys
from pathlib import Path

from cxrscore.images import worker
from cxrscore.images.decoder_protocol import Settings

if not (mark := Path(os.environ["TEST_MARK"])).exists():
    settings, order, _ = (sys.stdin.buffer.readline() for _ in range(3))
    answer = b"".join(worker.handle_order(Settings.read(settings), order))
    os.write(1, answer[: int(len(answer) * float(os.environ["TEST_ANSWERED"]))])
    mark.touch()
    os._exit(7)
worker.main()
