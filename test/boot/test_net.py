"""Guests on the virtual switch: frames arrive, no guest can send in another's name, and broken rings hurt only their owner."""
import re
import socket
import time

import pytest

from appliance import LIMIT


def net(name, core):
    return {"name": name, "image": "guests/net.elf", "memory": "4M", "cmdline": name, "core": core,
            "devices": ["uart", "pic", "pit", "rtc", "reset", "exit", "net"]}


def segments(role, core, address):
    return {"name": role, "image": "guests/segments.elf", "memory": "4M", "cmdline": role, "core": core, "net": {"network": "segments", "uplink": False, "addresses": [address]}}


@pytest.fixture(scope="module")
def m(start):
    guests = [net("listen", 0), net("talk", 1), net("spoof", 0), net("break", 1), net("flood", 0),
              {"name": "control", "image": "guests/control.elf", "memory": "2M", "core": 1, "weight": 200},
              segments("whole", 0, "10.9.0.3"), segments("cut", 1, "10.9.0.4"), segments("send", 0, "10.9.0.1")]
    return start({"guests": guests, "mac_prefix": "52:42:48:00:00"}, cpus=2, model="corei7_icelake_u")


def console(m, name):
    return m.request("GET", f"/v1/guests/{name}/console")[2].replace("\r", "")


def round_done(m, count):
    m.wait_for("/v1/guests/talk/console?format=json", lambda c: len(re.findall(r"net: talk done, 10 of 10 good", c["text"])) >= count, "no answers")


def test_frames_of_every_length(m):
    m.wait_serial(r"\[talk\] net: talk done, (\d+) of")
    round_done(m, 1)
    heard = re.findall(r"net: T (\d+) from 52:42:48:00:00:02, (\d+) bytes$", console(m, "listen"), re.M)
    assert [int(length) for _, length in dict(heard).items()] == [16, 17, 60, 64, 511, 512, 1000, 1513, 1514, 1518]


def test_segments(m):
    """64 KiB of TCP at once: whole for a receiver that takes that, finished frames for one that does not."""
    m.wait_serial(r"\[send\] bench: net-segments \d+")
    m.wait_serial(r"\[cut\] segments: cut: good")
    m.wait_serial(r"\[whole\] segments: whole: good")
    received = {name: m.guest(name)["network"]["received"] for name in ("whole", "cut")}
    assert received["cut"] == 45 + 2 and received["whole"] == 1 + 4 * 20 + 2, received


def test_nobody_speaks_in_anothers_name(m):
    # Frames of one sender keep their order: when its last one is there, the others would be.
    m.wait_serial(r"\[listen\] net: E 0 from 52:42:48:00:00:03, 60 bytes\n")
    assert "net: S" not in console(m, "listen")
    # And it has not attracted another's frames.
    m.type("talk", "x")
    round_done(m, 2)
    assert "STOLEN" not in console(m, "spoof") and m.guest("spoof")["state"] == "running"
    assert m.get("/healthz") == {"status": "ok"}


def test_rings_that_make_no_sense(m):
    guest = m.wait_state("break", "stopped")
    text = console(m, "break")
    assert guest["exit_code"] == 0 and "WRONG" not in text, text
    assert len(re.findall(r"^net: .*: ok$", text, re.M)) == 51, text
    # After a reset its device works, and nothing that it had sent before got out.
    m.wait_serial(r"\[listen\] net: E 1 from 52:42:48:00:00:04, 60 bytes\n")
    assert "net: S" not in console(m, "listen") and "BROKEN" not in console(m, "listen")
    m.type("talk", "x")
    round_done(m, 3)


def test_flood_of_broadcasts(m):
    """It costs the other core nothing, management stays reachable, and once it ends everything is as before."""
    m.type("flood", "x")
    m.wait_serial(r"\[flood\] net: flood")
    # The report under way also covers the time before, when the guests were started.
    at = m.wait_serial(r"control: second \d+, ", len(m.serial())).end()
    for _ in range(3):
        match = m.wait_serial(r"control: second \d+, periods 1000, missed (\d+),", at)
        assert match.group(1) == "0", m.serial()[at - 1000:]
        at = match.end()
        assert m.guest("flood")["state"] == "running"
    m.request("POST", "/v1/guests/flood/actions", '{"action": "stop"}')
    m.wait_state("flood", "stopped")
    m.type("talk", "x")
    round_done(m, 4)


@pytest.mark.parametrize("padding", range(0, 64, 8))
def test_clients_that_were_there_first(start, padding):
    """Frames that arrive while the card is being started: no interrupt may be lost for good, whenever handling of them begins. The padding shifts that
    moment."""
    guests = [{"name": "echo", "image": "guests/echo.elf", "memory": "2M", "modules": [{"file": "padding.bin"}]}]
    m = start({"guests": guests, "management": {"auth": "none"}}, cpus=1, wait=False, files={"padding.bin": bytes((padding << 10) + 1)})
    early, end = [], time.monotonic() + LIMIT
    while "management address" not in m.serial():
        assert m.process.poll() is None and time.monotonic() < end, m.serial()[-2000:]
        try:
            early.append(socket.create_connection(("127.0.0.1", m.port), timeout=LIMIT))
        except OSError:  # the emulator does not listen yet
            pass
        time.sleep(0.05)
    assert m.get("/healthz") == {"status": "ok"}
    for s in early:
        s.close()
    m.stop()
