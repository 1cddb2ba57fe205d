"""Network cards in QEMU, where it has them: a kernel that only drives the card (test/kernel/nic_trial.c) sends 400 frames of all sizes to QEMU's gateway and compares
the answers. The appliance itself talks over the e1000 of Bochs in every other boot test."""
import functools
import hashlib
import json
import os
import re
import subprocess

import pytest

import machine
import mkiso
from appliance import BUILD, Tcg
from test_names import MGMT, PREFIX
from test_networks import EVERYBODY, EVIL, arp, console, dhcp, ipv4_udp, received, send, wire

LIMIT = 1000  # instructions for a frame
UEFI = ["-bios", machine.OVMF]  # puts 64-bit BARs above 4 GB
BEHIND_A_PORT = ["-M", "q35", "-device", "pcie-root-port,id=root0,chassis=1", "-netdev", "user,id=n", "-device"]


@pytest.fixture(scope="module")
def iso(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("iso") / "trial.iso")
    mkiso.make(BUILD, "iso/guests.json", out, kernel="nic_trial.elf")
    return out


@pytest.fixture
def trial(iso, tmp_path):
    """trial(card, arguments): the costs, once it has passed."""
    running = []

    def run(card, *arguments):
        running.append(Tcg(tmp_path, "-cdrom", iso, *arguments))
        m = running[-1]
        verdict = m.wait_serial(r"trial: (passed|failed.*)\n")[1]
        assert verdict == "passed", m.serial()
        assert f"trial: card {card}\n" in m.serial()
        assert "trial: by interrupt\n" in m.serial()
        return [int(n) for n in re.search(r"trial: (\d+) ticks a frame sent, (\d+) received\n", m.serial()).groups()]

    yield run
    for m in running:
        m.stop()


@functools.lru_cache(maxsize=None)
def devices():
    return subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, text=True, check=True).stdout


def test_e1000(trial):
    trial("82540EM", "-M", "pc", "-nic", "user,model=e1000")


def test_e1000e(trial):
    trial("82574L", "-M", "q35", "-nic", "user,model=e1000e")


def test_r8169(trial):
    """By the driver's 100 Mbit/s card: no emulator has the gigabit ones, which share rings, descriptors and most registers with it."""
    trial("RTL8139C+", "-M", "pc", "-nic", "user,model=rtl8139")


needs_igb = pytest.mark.skipif('name "igb"' not in devices(), reason="this QEMU has no igb: 8 and later have (Debian 13)")


@needs_igb
def test_igb(trial):
    costs = trial("82576", "-M", "q35", "-icount", "shift=0,sleep=off", "-nic", "user,model=igb")
    assert max(costs) < LIMIT, costs


def test_vmxnet3(trial):
    trial("vmxnet3", "-M", "pc", "-nic", "user,model=vmxnet3")


def test_virtio_transitional(trial):
    trial("virtio-net (transitional)", "-M", "pc", "-nic", "user,model=virtio-net-pci")


def test_virtio_modern(trial):
    trial("virtio-net", *BEHIND_A_PORT, "virtio-net-pci,netdev=n,bus=root0,romfile=")


def test_virtio_uefi(trial):
    trial("virtio-net (transitional)", *UEFI, "-M", "q35", "-m", "512", "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile=")


@pytest.mark.parametrize("card, model", [("82540EM", "e1000"), ("82574L", "e1000e"), ("virtio-net (transitional)", "virtio-net-pci"), ("vmxnet3", "vmxnet3")])
def test_costs(trial, card, model):
    """Instructions for a short frame, its way through the switch included."""
    costs = trial(card, "-M", "q35", "-icount", "shift=0,sleep=off", "-nic", f"user,model={model}")
    assert max(costs) < LIMIT, costs


# QEMU's -nic gives a virtio-net no MSI-X, as -device does.
@pytest.mark.parametrize("board, nic, interrupt", [("pc", "virtio-net-pci", "line"), ("q35", "e1000e", "msi-x"), ("q35", "vmxnet3", "msi-x"), pytest.param("q35", "igb", "msi-x", marks=needs_igb)])
def test_appliance(start, board, nic, interrupt):
    """Megabytes to management and many connections from it, over the card, while guests run; then its link goes and comes back."""
    m = start(cpus=2, emulator="qemu", board=board, nic=nic + ",id=wire", more=["-monitor", "unix:monitor,server,nowait"])
    image = bytes(i * 7 + i // 251 & 0xff for i in range(4 << 20))
    status, _, body = m.request("PUT", "/v1/images/large", image)
    assert status == 201 and json.loads(body)["sha256"] == hashlib.sha256(image).hexdigest(), body
    for _ in range(20):
        assert m.request("GET", "/v1/guests/control/vcpus/0/vmcb?format=text")[0] == 200
    for state, link_up in ("off", False), ("on", True):
        before = len(m.serial())
        m.monitor(f"set_link wire {state}")
        m.wait_serial(rf"network card 0: link {'up' if link_up else 'down'}", before)
    card = m.get("/v1/host")["network"]["cards"][0]
    assert card["link_up"] and card["interrupt"] == interrupt, card


def frames_in(dump):
    """Those that QEMU's filter-dump has written so far: pcap."""
    with open(dump, "rb") as f:
        data = f.read()
    found, at = [], 24
    while at + 16 <= len(data):
        length = int.from_bytes(data[at + 8:at + 12], "little")
        found.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return found


def test_uplinks(start, tmp_path):
    """Management on one card and a guest on another of a different kind. Each is on a network of its own, and their addresses there are the same. A third card, which
    has only the registers of before virtio 1, is passed over."""
    dumps = {card: str(tmp_path / card) for card in ("first", "second")}
    more = ["-netdev", "user,id=second", "-device", "virtio-net-pci,netdev=second,addr=8,romfile=", "-device", "virtio-net-pci,disable-modern=on,addr=7,romfile="]
    for card, dump in dumps.items():
        more += ["-object", f"filter-dump,id=dump-{card},netdev={card},file={dump}"]
    m = start({"guests": [wire("evil", 0)], "management": {"auth": "none"}, "mac_prefix": PREFIX, "uplinks": {"guests": "00:08.0"}}, cpus=2, emulator="qemu",
              nic="e1000e,id=first", more=more)
    cards = m.get("/v1/host")["network"]["cards"]
    assert [(c["driver"], c["roles"], c["interrupt"], c["link_up"]) for c in cards] == [("e1000e", ["management"], "msi-x", True), ("virtio-net", ["guests"], "msi-x", True)]
    assert cards[1]["pci"] == "0000:00:08.0" and m.get("/v1/config")["uplinks"] == {"guests": "0000:00:08.0"}
    for line in ("network card 0: for management, MSI-X", "network card 1: for guests, MSI-X"):
        assert line in m.serial()
    assert "network card virtio-net (transitional) at 0000:00:07.0 is not used: it lacks the memory-mapped registers" in m.serial()
    m.wait_serial(r"\[evil\] wire: ready")
    send(m, "evil", ipv4_udp(bytes(4), b"\xff" * 4, 68, 67, dhcp(1, 1)))
    offer = received(m, "evil", lambda f: f[34:38] == b"\0\x43\0\x44" and f[70:76] == EVIL)[0]
    given, server = offer[58:62], bytes([10, 0, 2, 2])
    assert given == bytes([10, 0, 2, 15])  # what management has on the other card
    at = console(m, "evil")["next"]
    send(m, "evil", ipv4_udp(bytes(4), b"\xff" * 4, 68, 67, dhcp(1, 3, b"\x32\x04" + given + b"\x36\x04" + server)))
    received(m, "evil", lambda f: f[34:38] == b"\0\x43\0\x44" and f[278:285] == b"\x63\x82\x53\x63\x35\x01\x05", at)
    send(m, "evil", arp(EVERYBODY, 1, given, server))
    received(m, "evil", lambda f: f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2" and f[28:32] == server, at)
    metrics = m.request("GET", "/metrics")[2]
    for card in cards:
        sent = re.search(rf'^bulkhead_nic_frames_total\{{card="{card["pci"]}",direction="transmit"\}} (\d+)$', metrics, re.M)
        assert int(sent[1]) >= 3
    # All that left and came in, on each.
    first, second = frames_in(dumps["first"]), frames_in(dumps["second"])
    assert len(first) > 20 and len(second) >= 6
    assert not any(EVIL in (f[:6], f[6:12]) for f in first) and not any(MGMT in (f[:6], f[6:12]) for f in second)
