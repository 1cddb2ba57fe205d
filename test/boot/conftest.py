"""Boot tests: the whole appliance in Bochs (with VMX) and QEMU (without), through serial and HTTP alone."""
import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))

from appliance import Appliance, Qemu  # noqa: E402

# A shell's background job ignores these, and so would all that the tests start and then interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """start(config, cpus=..., ...) boots a machine that ends with the module."""
    running = []

    def boot(*args, **kw):
        running.append(Appliance(tmp_path_factory.mktemp("machine"), *args, **kw))
        return running[-1]

    yield boot
    for machine in running:
        machine.stop()


@pytest.fixture
def start_qemu(tmp_path):
    running = []

    def boot(**kw):
        running.append(Qemu(tmp_path, **kw))
        return running[-1]

    yield boot
    for machine in running:
        machine.stop()
