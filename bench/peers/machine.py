"""How busy the machine is, and measurements that are taken again when others were busy on it."""

import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
# A third busy thread on two cores slows whoever spins at barriers by up to 30x (llama.cpp 0.7 tok/s
# in place of 35), so a measurement in which others used more than this share of the machine is
# taken again.
MAX_FOREIGN = 0.04
ATTEMPTS = 6


def busy_seconds():
    fields = [int(f) for f in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
    user, nice, system, _, _, irq, softirq = fields
    return (user + nice + system + irq + softirq) / TICK


def wait_until_idle(seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = busy_seconds()
        time.sleep(0.3)
        if busy_seconds() - before < 0.05 * 0.3 * os.cpu_count():
            return


class Machine:
    def __init__(self):
        self.processes = []  # long-lived contestants, whose time is not foreign
        self.most_foreign = 0.0

    def own_cpu_seconds(self):
        times = os.times()
        total = times.user + times.system + times.children_user + times.children_system
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / TICK
        return total

    def quietly(self, measurement):
        """The value taken with the machine otherwise idle; else the least disturbed one."""
        best = None
        for _ in range(ATTEMPTS):
            wait_until_idle()
            start, busy, own = time.perf_counter(), busy_seconds(), self.own_cpu_seconds()
            value = measurement()
            elapsed = time.perf_counter() - start
            foreign = (busy_seconds() - busy) - (self.own_cpu_seconds() - own)
            share = foreign / (elapsed * os.cpu_count())
            if best is None or share < best[0]:
                best = (share, value)
            if share < MAX_FOREIGN:
                break
        self.most_foreign = max(self.most_foreign, best[0])
        return best[1]

    def summary(self):
        return f"others used at most {self.most_foreign:.1%} of the machine during a measurement"
