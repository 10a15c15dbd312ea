#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks the protocol on purpose and sees whether a test notices.

    tests/mutants.py [--jobs N] [--list] [--no-baseline] [--test TEST] [NAME...]

Each tests/mutants/NAME.mutant is one mistake:

    breaks: the guarantee that is gone
    test: unit/test_NAME, sim/sim_protocol or integration/NAME.sh
                                                   (once for each test; any of them may kill it)
    limit: seconds a test may take                 (default 120)
    build: no                                      (the tests need no program: only SQL is touched)
    file: path
    <<<<
    text as it is
    ====
    text as it is with the mistake
    >>>>

`file` and its block may come several times. The text must be there exactly once, or the mutant
"does not apply". Copies of the tree with its objects (build/KIND) are made in a temporary folder,
one for each job, so that only what is touched is built again; the checkout stays as it is. First
each test must pass there without a mistake: one that fails anyway kills nothing. A mutant is killed
by the first test that fails, or that does not end within its limit ("by time").

--test TEST: this test alone must notice, whatever the files say; for what it can tell by itself.

Prints a line for each, then one of JSON: {"mutants":N,"killed":N,"survived":[...], ...}. Status 1 when
a mutant survived, did not apply or did not build, or a test fails without one.
"""
import argparse
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "tests", "mutants")
KIND = os.environ.get("KIND", "san")


class Mutant:
    def __init__(self, name):
        self.name = name
        self.breaks, self.tests, self.patches = "", [], []
        self.limit, self.build = 120, True
        with open(os.path.join(FOLDER, name + ".mutant"), encoding="utf-8") as f:
            self.parse(f.read().split("\n"))
        if not (self.breaks and self.tests and self.patches):
            raise ValueError(f"{name}: wants breaks, test and file")

    def parse(self, lines):
        path, part, before, after = None, None, [], []
        for number, line in enumerate(lines, 1):
            if part is None and (not line or line.startswith("#")):
                continue
            if part is None and line == "<<<<":
                before, after = [], []
                part = before
            elif part is before and line == "====":
                part = after
            elif part is after and line == ">>>>":
                if path is None:
                    raise ValueError(f"{self.name}: a block without a file")
                self.patches.append((path, "\n".join(before) + "\n", "".join(a + "\n" for a in after)))
                part = None
            elif part is not None:
                part.append(line)
            else:
                key, colon, value = line.partition(": ")
                if key == "file":
                    path = value
                elif key == "breaks":
                    self.breaks = value
                elif key == "test":
                    self.tests.append(value)
                elif key == "limit":
                    self.limit = int(value)
                elif key == "build" and value == "no":
                    self.build = False
                else:
                    raise ValueError(f"{self.name}: line {number} is not understood")
        if part is not None:
            raise ValueError(f"{self.name}: a block has no end")


class Tree:
    """A copy of the checkout with its objects."""

    def __init__(self, folder):
        self.folder = folder
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        for name in files.decode().split("\0"):
            source = os.path.join(ROOT, name)
            if name and os.path.isfile(source):
                target = os.path.join(folder, name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(source, target)
        build = os.path.join("build", KIND)
        shutil.copytree(os.path.join(ROOT, build), os.path.join(folder, build), symlinks=True,
                        ignore=lambda at, names: names if at.endswith(("tests/unit", "tests/fuzz", "tests/bench")) else [])

    def apply(self, mutant):
        """What was there before by path, or None when the mutant does not apply."""
        texts = {}
        for path, before, after in mutant.patches:
            name = os.path.join(self.folder, path)
            if path not in texts:
                try:
                    with open(name, encoding="utf-8") as f:
                        texts[path] = [f.read()] * 2
                except OSError:
                    return None
            if texts[path][1].count(before) != 1:
                return None
            texts[path][1] = texts[path][1].replace(before, after)
        originals = {path: (pair[0], os.stat(os.path.join(self.folder, path)).st_mtime_ns) for path, pair in texts.items()}
        self.write({path: pair[1] for path, pair in texts.items()})
        return originals

    def write(self, texts):
        for path, text in texts.items():
            with open(os.path.join(self.folder, path), "w", encoding="utf-8") as f:
                f.write(text)

    def restore(self, originals, was_built):
        """What was built with a mistake is older than the files, and built again."""
        self.write({path: text for path, (text, _) in originals.items()})
        for path, (_, time_ns) in originals.items():
            if not was_built:
                os.utime(os.path.join(self.folder, path), ns=(time_ns, time_ns))

    def make(self, test):
        """The last lines of a failed build, or None."""
        target = f"build/{KIND}/tests/{test}" if test.startswith(("unit/", "sim/")) else "programs-here"
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        command = ["make", "--no-print-directory", f"KIND={KIND}", target]
        command += [f"CC={os.environ['CC']}"] if os.environ.get("CC") else []
        done = subprocess.run(command, cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", check=False)
        return None if done.returncode == 0 else done.stdout[-600:]

    def run(self, test, limit):
        """How the test ended: "passed", or what failed."""
        env = dict(os.environ, KAIRAN_BIN=os.path.join(self.folder, "build", KIND))
        if test.startswith("unit/"):
            command = ["tests/run-one.sh", f"build/{KIND}/tests/{test}"]
        elif test.startswith("sim/"):
            command = [f"build/{KIND}/tests/{test}", "--seeds", "300"]
        else:
            command = ["bash", f"tests/{test}"]
        with subprocess.Popen(command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True) as p:
            late = threading.Event()

            running.add(p)

            def stop():
                late.set()
                end(p)

            timer = threading.Timer(limit, stop)
            timer.start()
            why, skipped, passed = None, False, 0
            for line in p.stdout:
                skipped = skipped or line.startswith("1..0")
                passed += line.startswith("ok ")
                if why is None and re.match(r"not ok|Bail out!", line):
                    why = line.strip()
                    # services are stopped by the script itself: what follows says nothing new
                    threading.Thread(target=end, args=(p,)).start()
            status = p.wait()
            timer.cancel()
            running.discard(p)
        if why is not None:
            return why
        if late.is_set():
            return f"by time ({limit} s)"
        if status != 0:
            return f"status {status} after {passed} tests"
        return "skipped" if skipped else "passed"


running = set()
temporary_folder = [""]


def stop_all(number, _frame):
    """A signal: what runs is ended first, so that no service stays behind."""
    for p in list(running):
        end(p)
    shutil.rmtree(temporary_folder[0], ignore_errors=True)
    os._exit(128 + number)


def end(p):
    """SIGTERM to the script, whose trap stops its services; then SIGKILL to what is left of its session."""
    for number, wait in ((signal.SIGTERM, 40), (signal.SIGKILL, 5)):
        if p.poll() is not None:
            return
        try:
            if number == signal.SIGKILL:
                os.killpg(p.pid, number)
            else:
                os.kill(p.pid, number)
        except ProcessLookupError:
            return
        for _ in range(wait * 10):
            if p.poll() is not None:
                return
            time.sleep(0.1)


def kill(tree, mutant):
    """(verdict, remark) of a mutant in a tree, which is as before afterwards."""
    originals = tree.apply(mutant)
    if originals is None:
        return "does not apply", ""
    try:
        for test in mutant.tests:
            problem = tree.make(test) if mutant.build else None
            if problem is not None:
                return "does not build", problem
            result = tree.run(test, mutant.limit)
            if result == "skipped":
                return "survived", f"{test} was skipped"
            if result != "passed":
                return "killed", f"{test}: {result}"
        return "survived", f"breaks {mutant.breaks}"
    finally:
        tree.restore(originals, mutant.build)


def baseline(tree, test, build, limit):
    problem = tree.make(test) if build else None
    if problem is not None:
        return "does not build", problem
    result = tree.run(test, limit)
    return ("passes" if result == "passed" else "fails"), f"without a mistake: {result}"


def work(folder, jobs, report):
    tree = None
    while True:
        try:
            kind, name, what = jobs.get_nowait()
        except queue.Empty:
            return
        tree = tree or Tree(folder)
        began = time.monotonic()
        verdict, remark = what(tree)
        report(kind, name, verdict, remark, time.monotonic() - began)


def run_all(temporary, count, items, report):
    jobs = queue.Queue()
    for item in items:
        jobs.put(item)
    threads = [threading.Thread(target=work, args=(os.path.join(temporary, str(i)), jobs, report)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--test")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    names = options.names or sorted(n[:-7] for n in os.listdir(FOLDER) if n.endswith(".mutant"))
    mutants = [Mutant(n) for n in names]
    for m in mutants if options.test else []:
        m.tests, m.build = [options.test], True
    if options.list:
        for m in mutants:
            print(f"{m.name}: {m.breaks} ({', '.join(m.tests)})")
        return 0
    found = {}
    lock = threading.Lock()

    def report(kind, name, verdict, remark, seconds):
        with lock:
            found.setdefault(f"{kind} {verdict}", []).append(name)
            print(f"{verdict:15} {name:32} {seconds:4.0f} s  {remark}", flush=True)

    tests = {}
    for m in mutants:
        for t in m.tests:
            build, limit = tests.get(t, (False, 0))
            tests[t] = (build or m.build, max(limit, m.limit))
    mutants.sort(key=lambda m: -m.limit)  # the long ones first
    items = [("mutant", m.name, lambda tree, m=m: kill(tree, m)) for m in mutants]
    if not options.no_baseline:
        items = [("test", t, lambda tree, t=t, b=b, l=l: baseline(tree, t, b, l)) for t, (b, l) in sorted(tests.items(), key=lambda i: -i[1][1])] + items
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_all)
    with tempfile.TemporaryDirectory(prefix="kairan-mutants.") as temporary:
        temporary_folder[0] = temporary
        os.chmod(temporary, 0o755)
        run_all(temporary, max(options.jobs, 1), items, report)
    bad = {k: sorted(found.get(k, [])) for k in ("mutant survived", "mutant does not apply", "mutant does not build",
                                                 "test fails", "test does not build")}
    line = {"mutants": len(mutants), "killed": len(found.get("mutant killed", [])), "survived": bad["mutant survived"]}
    for key, label in (("mutant does not apply", "does_not_apply"), ("mutant does not build", "does_not_build")):
        if bad[key]:
            line[label] = bad[key]
    if bad["test fails"] or bad["test does not build"]:
        line["tests_that_fail_anyway"] = sorted(bad["test fails"] + bad["test does not build"])
    print(json.dumps(line, separators=(",", ":")))
    return 1 if any(bad.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
