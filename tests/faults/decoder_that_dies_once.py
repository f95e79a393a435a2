"""A decoding process that ends when it has two orders, the first time that it is started in this folder; a test starts
it."""

import os
import sys
from pathlib import Path

from cxrscore.images import worker

if not (mark := Path(os.environ["TEST_MARK"])).exists():
    for _ in range(3):  # the settings and two orders
        sys.stdin.buffer.readline()
    mark.touch()
    os._exit(7)
worker.main()
