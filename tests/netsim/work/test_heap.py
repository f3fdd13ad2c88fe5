"""Memory that was freed is not asked for again."""

import ctypes
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import numpy as np
from netsim.work.heap import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def step():
    held = [np.ones(2**18) for _ in range(20)]  # 2 MiB each, so 512 pages

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(3):
    step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


def faults_of(way: str) -> int:
    done = subprocess.run([sys.executable, "-c", STEPS, way], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc's allocator")
def test_a_step_finds_the_memory_of_the_step_before():
    assert faults_of("kept") < 100
    assert faults_of("given back") > 10_000  # 102,400 pages are written; else the test would show nothing
