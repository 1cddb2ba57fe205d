"""Boot tests: the whole appliance in Bochs (with VMX) and QEMU (with SVM), observed only through serial line, screen and HTTP."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))

from appliance import Appliance, Qemu  # noqa: E402

# A shell's background job ignores these signals, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


# ---- several pytests that share the test files ----

# Files that take minutes come first, so that all pytests end at about the same time.
LONG = ("test_kernels.py", "test_linux.py", "test_page_live.py", "test_tls.py", "test_flood.py")


def pytest_addoption(parser):
    parser.addoption("--queue", metavar="DIRECTORY", help="an empty directory, the same for several pytests: each runs the files that no other has taken")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--queue"):
        items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_runtest_protocol(item):
    """True: another pytest has taken the test's file."""
    queue, taken = item.config.getoption("--queue"), item.config.stash.setdefault(TAKEN, {})
    if queue and item.path not in taken:
        try:
            os.close(os.open(os.path.join(queue, item.path.name), os.O_CREAT | os.O_EXCL))
            taken[item.path] = True
        except FileExistsError:
            taken[item.path] = False
    return True if queue and not taken[item.path] else None


TAKEN = pytest.StashKey()


# ---- machines ----

STARTED = []  # machines started by the fixture that is being set up, or by the running test
RUNNING = []  # all that are not stopped


def stop_all(machines):
    for machine in machines:
        machine.stop()
        RUNNING.remove(machine)


# A machine ends with the fixture or test that started it: an unused one would take time from the others.
@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef):
    yield
    machines = STARTED[:]
    STARTED.clear()
    fixturedef.addfinalizer(lambda: stop_all(machines))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    outcome = yield
    if outcome.excinfo and not outcome.excinfo[0] is pytest.skip.Exception:
        for machine in RUNNING:
            item.add_report_section("call", f"machine {os.path.basename(machine.directory)}", machine.story())
    stop_all(STARTED)
    STARTED.clear()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """start(config, cpus=..., ...) boots a machine."""
    def boot(*args, **kw):
        machine = Appliance(tmp_path_factory.mktemp("machine"), *args, **kw)
        STARTED.append(machine)
        RUNNING.append(machine)
        return machine

    return boot


@pytest.fixture(scope="module", params=["bochs", "qemu"])
def start_on_both(start, request):
    """The same, in Bochs with VMX and then in QEMU with SVM: for what the vendor does not matter to. In QEMU the TSC is the time of this computer, so
    no test says there how late something may be."""
    def boot(*args, **kw):
        return start(*args, emulator=request.param, **kw)

    boot.emulator = request.param
    return boot


@pytest.fixture
def start_qemu(tmp_path):
    running = []

    def boot(**kw):
        running.append(Qemu(tmp_path, **kw))
        return running[-1]

    yield boot
    for machine in running:
        machine.stop()
