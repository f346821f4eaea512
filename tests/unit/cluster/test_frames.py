"""Listing all frames, as Dask's profiler does, in a process whose threads come and go."""

from __future__ import annotations

import subprocess
import sys

LIST_FRAMES = """
import _thread, gc, os, sys, time, weakref
from collections import deque
from shdask.cluster.frames import mend_current_frames

class Node: pass
kept = deque(maxlen=1000)

def litter():
    one, other = Node(), Node()
    one.other, other.other = other, one
    kept.append(weakref.ref(other, lambda _: time.sleep(1e-4)))  # hands the interpreter over in mid-collection

def begin_threads():
    while True:
        _thread.start_new_thread(int, ())
        time.sleep(1e-4)

mend_current_frames()
mend_current_frames()
gc.set_threshold(3, 2, 2)
_thread.start_new_thread(begin_threads, ())
for _ in range(2000):
    litter()
    assert _thread.get_ident() in sys._current_frames()
print("collects" if gc.isenabled() else "collects no more", flush=True)
os._exit(0)
"""
"""Without the mending it hangs at once on CPython before 3.11.9."""


def test_threads_that_end_hang_no_list_of_frames() -> None:
    """Garbage is collected before and after, by threads that are born and die all the time."""
    done = subprocess.run([sys.executable, "-c", LIST_FRAMES], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "collects\n"
