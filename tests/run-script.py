#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one integration script for prove, and ends with it.

A script that does not end within LIMIT_S seconds, or that leaves a process behind which still holds
its output, would hold up the whole suite without a word. Here it fails: what runs is listed, the
script is ended with everything it started, and the next one begins.
"""
import os
import selectors
import signal
import subprocess
import sys
import time

LIMIT_S = float(os.environ.get("KAIRAN_SCRIPT_LIMIT_S", "420"))
GRACE_S = 20.0  # for the script's own trap to stop its services
LEFTOVER_S = 5.0  # from the script's end to the end of its output


def family(root):
    """Ids of root and of all that descends from it, parents first."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def holders(pipe):
    """Ids of the processes, other than this one, that hold the other end of a pipe."""
    inode = f"pipe:[{os.fstat(pipe).st_ino}]"
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            fds = [os.readlink(f"/proc/{name}/fd/{fd}") for fd in os.listdir(f"/proc/{name}/fd")]
        except OSError:
            continue
        if inode in fds:
            found.append(int(name))
    return found


def describe(pids):
    if not pids:
        return
    listing = subprocess.run(
        ["ps", "-o", "pid,ppid,etime,stat,wchan:20,args", "-p", ",".join(map(str, pids))],
        stdout=subprocess.PIPE, check=False, text=True)
    for line in listing.stdout.splitlines():
        print(f"#   {line[:160]}", file=sys.stderr, flush=True)


def end(pids, sig):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


def relay(pipe, until, alive):
    """Passes output on; True at its end, False at the time `until` or when not alive() any more."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while time.monotonic() < until and alive():
            if not selector.select(timeout=0.2):
                continue
            data = os.read(pipe, 65536)
            if not data:
                return True
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    return False


def main():
    script = sys.argv[1]
    child = subprocess.Popen(["bash", script], stdout=subprocess.PIPE)
    pipe = child.stdout.fileno()
    limit = time.monotonic() + LIMIT_S
    ended = relay(pipe, limit, lambda: child.poll() is None)
    if child.poll() is None and not ended:
        started = family(child.pid)
        print(f"\nnot ok - {script} ends within {LIMIT_S:.0f} s", flush=True)
        print(f"# {script} did not end; running:", file=sys.stderr)
        describe(started)
        end([child.pid], signal.SIGTERM)
        end(started[1:], signal.SIGTERM)
        relay(pipe, time.monotonic() + GRACE_S, lambda: child.poll() is None)
        end(started, signal.SIGKILL)
        child.wait()
        return 1
    status = child.wait()
    if not ended and not relay(pipe, time.monotonic() + LEFTOVER_S, lambda: True):
        left = holders(pipe)
        print(f"\nnot ok - {script} leaves no process behind", flush=True)
        print(f"# {script} left:", file=sys.stderr)
        describe(left)
        end(left, signal.SIGKILL)
        return 1
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
