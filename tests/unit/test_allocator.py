"""glibc's allocator, as backends set it."""

import os
import platform
import re
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")

USED_BY_A_THREAD = """
import ctypes
import threading

from cxrscore import system_resources as allocator

allocator.{function}()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fopen.restype = ctypes.c_void_p
barrier = threading.Barrier(3)


def work():
    barrier.wait()  # all at once, so that none takes over the arena of one that has ended
    libc.malloc(ctypes.c_size_t(1000))
    barrier.wait()


threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
"""


def arenas(function, **environment):
    program = USED_BY_A_THREAD.format(function=function)
    told = {**{name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}, **environment}
    done = subprocess.run([sys.executable, "-c", program], env=told, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return len(re.findall("<heap nr=", done.stdout))


@glibc
@pytest.mark.parametrize("function", ["one_arena", "keep_freed_memory"])
def test_threads_share_one_arena_unless_it_is_not_wanted(function):
    assert arenas(function) == 1
    assert arenas(function, CXRSCORE_MALLOC="0") > 1
