"""The thread pool: callers at once, changed thread counts, forks, and the floating-point mode of others."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from matrix_cases import MatrixCase, activations, pack

from shoestring import _kernels, ops

CASE = MatrixCase("Q4_K", 500, 512)


def test_callers_at_once_get_the_bits_of_one() -> None:
    _kernels.set_num_threads(3)
    matrix, x = pack(CASE), activations(1, 9, CASE.columns)
    expected = ops.matmul(ops.Workspace(), x, matrix).tobytes()
    wrong = []

    def call() -> None:
        ws = ops.Workspace()
        for turn in range(50):
            with ws:
                if turn % 10 == 0:
                    _kernels.set_num_threads(1 + turn // 10 % 3)
                if ops.matmul(ws, x, matrix).tobytes() != expected:
                    wrong.append(turn)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert not any(caller.is_alive() for caller in callers)
    assert not wrong


def test_a_forked_child_computes() -> None:
    program = """
import os, sys
sys.path.insert(0, "tests/kernels")
from matrix_cases import MatrixCase, activations, pack
from shoestring import _kernels, ops
_kernels.set_num_threads(3)
matrix, x = pack(MatrixCase("Q8_0", 500, 512)), activations(1, 9, 512)
before = ops.matmul(ops.Workspace(), x, matrix).tobytes()
child = os.fork()
same = ops.matmul(ops.Workspace(), x, matrix).tobytes() == before
if child == 0:
    os._exit(0 if same else 3)
assert same and os.waitpid(child, 0)[1] == 0
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    root = os.path.join(os.path.dirname(__file__), "..", "..")
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60, cwd=root, env=environment)


def test_workers_sleep_when_nothing_comes() -> None:
    _kernels.set_num_threads(3)
    ops.matmul(ops.Workspace(), activations(1, 9, CASE.columns), pack(CASE))
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize("count", [0, -1, 257])
def test_thread_counts_are_checked(count: int) -> None:
    with pytest.raises(ValueError, match="threads"):
        _kernels.set_num_threads(count)


def test_workspace_frames_give_back_what_they_took() -> None:
    ws = ops.Workspace()
    with ws:
        first = ws.floats(3, 5)
        with ws:
            inner = ws.floats(1 << 20)
            inner[:] = 1
        again = ws.floats(1 << 20)
        assert not np.shares_memory(first, again)
        assert np.shares_memory(inner, again)
        assert first.ctypes.data % 64 == 0
        assert again.ctypes.data % 64 == 0
    held = ws.nbytes
    for _ in range(3):
        with ws:
            ws.floats(3, 5)
            ws.floats(1 << 20)
        assert ws.nbytes == held


def test_arrays_of_a_workspace_are_the_shapes_asked_for_in_any_order() -> None:
    ws, rng = ops.Workspace(), np.random.default_rng(3)
    for _ in range(400):
        with ws:
            arrays = []
            for number in range(int(rng.integers(1, 5))):
                shape = tuple(int(n) for n in rng.integers(1, 60, size=int(rng.integers(1, 4))))
                array = ws.floats(*shape)
                assert array.shape == shape
                array[...] = number
                arrays.append(array)
            for number, array in enumerate(arrays):
                assert (array == number).all()


def test_a_workspace_that_grew_lets_its_old_blocks_go() -> None:
    ws = ops.Workspace()
    with ws:
        small = ws.floats(8)
        ws.floats(1 << 20)
    with ws:
        assert not np.shares_memory(small, ws.floats(8))
