"""A server whose threads but the one of HTTP stand still: what a hung kernel or a deadlock looks like from outside."""

import contextlib
import ctypes
import os
import threading
import time

import pytest
from running_server import Stopwatch

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000


@contextlib.contextmanager
def frozen(pid):
    """All threads of the process but its first stand still inside. One thread must enter and leave."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task") if int(name) != pid]
    held = []
    try:
        for thread in threads:
            if libc.ptrace(PTRACE_SEIZE, thread, None, None) != 0:
                pytest.skip(f"no ptrace here: {os.strerror(ctypes.get_errno())}")
            held.append(thread)
            assert libc.ptrace(PTRACE_INTERRUPT, thread, None, None) == 0
            os.waitpid(thread, WALL)
        yield
    finally:
        for thread in held:
            libc.ptrace(PTRACE_DETACH, thread, None, None)


@pytest.mark.parametrize("busy", [False, True])
def test_a_wedged_engine_is_known_within_ten_seconds(start, busy):
    server = start()
    server.chat()  # the threads that load are gone then
    replies = []
    thread = threading.Thread(target=lambda: replies.append(server.chat(max_tokens=1500, ignore_eos=True, n=4, timeout=60)))
    if busy:
        thread.start()
        server.wait_for(lambda metrics: metrics["vllm:num_requests_running"] == 4)
    with frozen(server.process.pid):
        watch = Stopwatch()
        while (reply := server.get("/health")).status == 200:
            assert watch.seconds() < 10, "a dead engine behind a healthy /health"
            time.sleep(0.05)
        assert reply.status == 503 and reply.error["message"] == "the engine is stuck" and reply.headers["Retry-After"]
        assert watch.seconds() > 1, "a long step is no death"
        assert server.get("/ping").status == 503
        if not busy:
            thread.start()
            time.sleep(0.1)
    # What stood still goes on, and says so.
    watch = Stopwatch()
    while server.get("/health").status != 200:
        assert watch.seconds() < 5
        time.sleep(0.05)
    thread.join()
    assert replies[0].status == 200 and len(replies[0].json["choices"]) == 4
