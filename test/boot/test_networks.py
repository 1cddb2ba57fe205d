"""Named networks, and a guest that lies about others, routers and servers. The guests send the frames that they are given, and print those that arrive."""
import re
import socket
import struct

import pytest

from test_names import MGMT, MGMT_LINK_LOCAL, PREFIX, checksum, frames

EVIL, PEER, FAR, CLOSED = (bytes.fromhex("5242480000" + f"{n:02x}") for n in (1, 2, 3, 4))
EVERYBODY = b"\xff" * 6
GATEWAY, SERVER = bytes([10, 0, 2, 2]), bytes([10, 0, 2, 15])
OURS = b"\x88\xb5"  # the type for local experiments


def wire(name, core, **net):
    return {"name": name, "image": "guests/wire.elf", "memory": "2M", "core": core, "cmdline": "all", "net": net}


@pytest.fixture(scope="module")
def m(start):
    # Management can be reached, so only the switch's refusals protect it here.
    guests = [wire("evil", 0), wire("peer", 0), wire("far", 1, network="plant"), wire("closed", 1, network="plant", uplink=False)]
    booted = start({"guests": guests, "management": {"auth": "none", "http": "plain", "reachable_from_guests": True}, "mac_prefix": PREFIX}, cpus=2)
    for guest in guests:
        booted.wait_serial(rf"\[{guest['name']}\] wire: ready")
    return booted


def console(m, name):
    return m.get(f"/v1/guests/{name}/console?format=json")


def send(m, name, frame):
    """Waits until the frame is sent: its receivers have it by then."""
    at = console(m, name)["next"]
    m.type(name, frame.hex() + "\n")
    m.wait_for(f"/v1/guests/{name}/console?format=json&from={at}", lambda c: f"> {len(frame)} bytes" in c["text"], "the frame was not sent")


def received(m, name, wanted, start=0, least=1):
    """The frames that it has printed, of which `least` are waited for."""
    def those(c):
        return [f for f in frames(c["text"]) if wanted(f)]
    return those(m.wait_for(f"/v1/guests/{name}/console?format=json&from={start}", lambda c: len(those(c)) >= least, f"{name} got too little"))


def ours(source, number, to=EVERYBODY):
    return to + source + OURS + bytes([number]) * 46


def refused(m, reason):
    return m.guest("evil")["network"]["refused"].get(reason, 0)


def arp(to, operation, sender, target):
    return to + EVIL + struct.pack(">HHHBBH", 0x806, 1, 0x800, 6, 4, operation) + EVIL + sender + bytes(6) + target + bytes(18)


def ipv4_udp(source, destination, source_port, port, data, to=EVERYBODY):
    udp = struct.pack(">HHHH", source_port, port, 8 + len(data), 0) + data
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, source, destination)
    return to + EVIL + b"\x08\x00" + header[:10] + struct.pack(">H", checksum(header)) + header[12:] + udp


def dhcp(op, kind, options=b"", yours=bytes(4)):
    """RFC 2131, figure 1."""
    return (struct.pack(">BBBBIHH", op, 1, 6, 0, 0x42480001, 0, 0x8000) + bytes(4) + yours + bytes(8) + EVIL + bytes(10 + 192)
            + b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + options + b"\xff").ljust(300, b"\0")


def icmp6(source, destination, data, to):
    pseudo = source + destination + struct.pack(">II", len(data), 58)
    data = data[:2] + struct.pack(">H", checksum(pseudo + data)) + data[4:]
    return to + EVIL + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(data), 58, 255) + source + destination + data


ALL_NODES, OWN = socket.inet_pton(socket.AF_INET6, "ff02::1"), socket.inet_pton(socket.AF_INET6, "fe80::5042:48ff:fe00:1")
PREFIX6 = socket.inet_pton(socket.AF_INET6, "2001:db8:1:2::")
ADVERTISEMENT = bytes([134, 0, 0, 0, 64, 0]) + struct.pack(">HII", 1800, 0, 0) + struct.pack(">BBBBIII", 3, 4, 64, 0xc0, 86400, 14400, 0) + PREFIX6

ATTACKS = [
    ("arp", arp(MGMT, 2, GATEWAY, SERVER)), ("arp", arp(EVERYBODY, 2, GATEWAY, GATEWAY)), ("arp", arp(EVERYBODY, 1, SERVER, GATEWAY)), ("arp", arp(EVERYBODY, 1, bytes(4), SERVER)),
    ("router-advertisement", icmp6(OWN, ALL_NODES, ADVERTISEMENT, bytes.fromhex("333300000001"))),
    ("neighbour-discovery", icmp6(OWN, MGMT_LINK_LOCAL, bytes([136, 0, 0, 0, 0x60, 0, 0, 0]) + MGMT_LINK_LOCAL + b"\x02\x01" + EVIL, MGMT)),
    ("hidden", MGMT + EVIL + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, 8 + len(ADVERTISEMENT), 60, 255) + OWN + MGMT_LINK_LOCAL + b"\x3a\0\1\4\0\0\0\0" + ADVERTISEMENT),
    ("dhcp", ipv4_udp(GATEWAY, b"\xff" * 4, 67, 68, dhcp(2, 5, yours=bytes([10, 0, 2, 66])))),
    ("ip-source", ipv4_udp(GATEWAY, SERVER, 53, 53, b"who I am not", MGMT)),
    ("vlan-tag", EVERYBODY + EVIL + b"\x81\x00\0\0" + arp(EVERYBODY, 2, GATEWAY, SERVER)[12:]),
    ("source", EVERYBODY + PEER + OURS + bytes(46)),
    ("destination", ours(EVIL, 1, FAR)), ("destination", ours(EVIL, 2, CLOSED)),
    ("reserved", bytes.fromhex("0180c2000001") + EVIL + b"\x88\x08" + bytes(46)),
]


def test_what_is_refused(m):
    before = {name: console(m, name)["next"] for name in ("peer", "far", "closed")}
    address = m.get("/v1/host")["network"]["address"]
    expected = {}
    for reason, frame in ATTACKS:
        expected[reason] = expected.get(reason, 0) + 1
        send(m, "evil", frame)
    for reason, count in expected.items():
        m.wait_for("/v1/guests/evil?format=json", lambda g, r=reason, n=count: g["network"]["refused"].get(r) == n, f"{reason} was not refused {count} times")
    # Only this frame arrives: none of the refused ones did.
    send(m, "evil", ours(EVIL, 9))
    got = received(m, "peer", lambda f: f[6:12] == EVIL, before["peer"])
    assert got == [ours(EVIL, 9)]
    # Management is unchanged: same gateway, and no other address.
    assert m.get("/v1/host")["network"]["address"] == address == "10.0.2.15"
    assert "2001:db8" not in m.serial() and m.guest("mgmt")["restarts"] == 0
    metrics = m.request("GET", "/metrics")[2]
    assert re.search(r'^bulkhead_guest_network_refused_frames_total\{guest="evil",reason="arp"\} 4$', metrics, re.M)
    assert re.search(r'^bulkhead_guest_network_refused_frames_total\{guest="peer",reason="arp"\} 0$', metrics, re.M)


def test_networks(m):
    """Guests of a network reach each other, by unicast and broadcast; those of another network see none of it."""
    before = {name: console(m, name)["next"] for name in ("evil", "peer", "far", "closed")}
    send(m, "evil", ours(EVIL, 20))
    send(m, "evil", ours(EVIL, 21, PEER))
    send(m, "peer", ours(PEER, 22, EVIL))
    send(m, "far", ours(FAR, 23))
    send(m, "far", ours(FAR, 24, CLOSED))
    send(m, "closed", ours(CLOSED, 25, FAR))
    expected = {"peer": [20, 21], "evil": [22], "closed": [23, 24], "far": [25]}
    numbers = {name: [f[14] for f in received(m, name, lambda f: f[12:14] == OURS, before[name], len(expected[name]))] for name in before}
    assert numbers == expected


def test_dhcp(m):
    """A guest gets an address from outside, and may use it from then on."""
    before, dropped = console(m, "evil")["next"], refused(m, "arp")
    send(m, "evil", ipv4_udp(bytes(4), b"\xff" * 4, 68, 67, dhcp(1, 1)))
    offer = received(m, "evil", lambda f: f[12:14] == b"\x08\x00" and f[34:38] == b"\0\x43\0\x44" and f[70:76] == EVIL, before)[0]
    given = offer[58:62]
    send(m, "evil", arp(EVERYBODY, 1, given, GATEWAY))  # not yet
    assert refused(m, "arp") == dropped + 1
    at = console(m, "evil")["next"]
    send(m, "evil", ipv4_udp(bytes(4), b"\xff" * 4, 68, 67, dhcp(1, 3, b"\x32\x04" + given + b"\x36\x04" + GATEWAY)))
    received(m, "evil", lambda f: f[34:38] == b"\0\x43\0\x44" and f[278:285] == b"\x63\x82\x53\x63\x35\x01\x05", at)
    at = console(m, "evil")["next"]
    send(m, "evil", arp(EVERYBODY, 1, given, GATEWAY))
    answer = received(m, "evil", lambda f: f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2" and f[28:32] == GATEWAY, at)[0]
    assert answer[:6] == EVIL and answer[38:42] == given
    # Now it may also speak to management, under that address.
    at = console(m, "evil")["next"]
    send(m, "evil", arp(EVERYBODY, 1, given, SERVER))
    received(m, "evil", lambda f: f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2" and f[6:12] == MGMT, at)
    assert refused(m, "arp") == dropped + 1
    send(m, "evil", arp(MGMT, 2, GATEWAY, SERVER))
    assert refused(m, "arp") == dropped + 2 and m.get("/healthz") == {"status": "ok"}
