"""Plugin of pytest that reports each case of llama.cpp's server tests to `cargo xtask test`.

A line on the standard error of pytest, before it is captured: `case`, the result, pytest's name of
the case, the first line of its failure, parted by tabs. Runs only the cases that SUITE_CASES lists,
if there is such a file.
"""

import os
import threading

import pytest

LIMIT = float(os.environ.get("SUITE_LIMIT", "60"))

# Imported before pytest captures what tests print.
reports = os.fdopen(os.dup(2), "w")
cases = {}


def pytest_collection_modifyitems(items):
    """Leaves the cases of the list."""
    if "SUITE_CASES" in os.environ:
        with open(os.environ["SUITE_CASES"], encoding="utf-8") as file:
            wanted = set(file.read().split("\n"))
        items[:] = [item for item in items if item.nodeid in wanted]


def pytest_collection_finish():
    """Keeps conftest.py from starting a server of every preset first.

    It does so to fetch their models; there is one here. Beside a server that runs already, cases
    that want other flags than the preset's are skipped.
    """
    import utils

    utils.ServerPreset.load_all = staticmethod(lambda: None)
    start = utils.ServerProcess.start

    def start_if_fitting(server, *args, **kwargs):
        preset = vars(utils.ServerPreset.tinyllama2())
        wanted = vars(server)
        if server.external_server and wanted != preset:
            keys = sorted(preset.keys() | wanted.keys())
            other = [key for key in keys if wanted.get(key) != preset.get(key)]
            pytest.skip("wants other flags: " + ", ".join(other))
        return start(server, *args, **kwargs)

    utils.ServerProcess.start = start_if_fitting


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Kills the servers of a case that takes too long: its requests then fail, in all threads."""

    def kill():
        import utils

        for server in list(utils.server_instances):
            if server.process:
                server.process.kill()

    timer = threading.Timer(LIMIT, kill)
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def pytest_runtest_logreport(report):
    """Keeps the worst of a case's three phases, and reports it after the last."""
    outcome, why = cases.get(report.nodeid, ("passed", ""))
    if outcome == "passed" and report.outcome != "passed":
        outcome = report.outcome
        if isinstance(report.longrepr, tuple):
            why = report.longrepr[2]
        else:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else str(report.longrepr)
    cases[report.nodeid] = (outcome, why)
    if report.when == "teardown":
        outcome, why = cases.pop(report.nodeid)
        # The first line says what was compared, the others explain.
        why = " ".join(why.split("\n", 1)[0].split())
        print("case", outcome, report.nodeid, why, sep="\t", file=reports, flush=True)
