"""How the appliance is found, and services it uses by itself: multicast DNS, IPv6, time, syslog. For what the emulator's network does not carry, a guest on
the virtual switch sends the frames it is given."""
import datetime
import re
import socket
import struct
import threading

import pytest

from appliance import LIMIT

PREFIX = "52:42:48:00:00"
MGMT = bytes.fromhex("524248000000")
US = bytes.fromhex("524248000001")
MGMT_LINK_LOCAL = socket.inet_pton(socket.AF_INET6, "fe80::5042:48ff:fe00:0")
# It may impersonate machines outside.
WIRE = {"name": "wire", "image": "guests/wire.elf", "memory": "4M", "core": 0, "net": {"allow": ["any-address", "router-advertisements", "dhcp-server"]}}
OUR_LINK_LOCAL = socket.inet_pton(socket.AF_INET6, "fe80::99")
NTP_EPOCH = 2208988800  # 1970 in seconds since 1900
THEN = 2000000000       # 2033-05-18T03:33:20Z


class Server(threading.Thread):
    """A UDP server on a port of this computer."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.change = threading.Condition()
        self.received = []
        self.start()

    def answers(self, data):
        return ()

    def run(self):
        while True:
            data, client = self.socket.recvfrom(2048)
            with self.change:
                self.received.append(data)
                self.change.notify_all()
            for answer in self.answers(data):
                self.socket.sendto(answer, client)

    def wait(self, pattern):
        """The match of `pattern` in the first packet that has it."""
        def find():
            return next((m for m in (re.search(pattern, d) for d in self.received) if m), None)
        with self.change:
            assert self.change.wait_for(find, LIMIT), (pattern, self.received[-10:])
            return find()


class Ntp(Server):
    def answers(self, data):
        """RFC 5905, figure 8: a stratum 1 server whose time never changes. Before it, one that is not synchronised, one that is in a wrong stratum, and one
        that does not say when it answers."""
        for leap, stratum, then, sent in ((3, 1, 1, 1), (0, 16, 2, 2), (0, 255, 3, 3), (0, 1, 4, 0), (0, 1, 0, 0)):
            now = struct.pack(">II", NTP_EPOCH + THEN + 1000000 * then, 0)
            yield bytes([leap << 6 | 4 << 3 | 4, stratum, 0, 0]) + bytes(12) + now + data[40:48] + now + (now if sent == then else bytes(8))


@pytest.fixture(scope="module")
def syslog():
    return Server()


@pytest.fixture(scope="module")
def m(start, syslog):
    management = {"auth": "none", "reachable_from_guests": True, "http": "plain", "hostname": "kettle", "ntp": f"10.0.2.2:{Ntp().port}",
                  "syslog": {"server": "10.0.2.2", "port": syslog.port, "consoles": True}}
    return start({"management": management, "guests": [WIRE], "mac_prefix": PREFIX}, cpus=2)


def checksum(data):
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def ipv4_udp(destination_mac, destination, port, data):
    udp = struct.pack(">HHHH", port, port, 8 + len(data), 0) + data
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 255, 17, 0, bytes([10, 0, 2, 77]), bytes(destination))
    return destination_mac + US + b"\x08\x00" + header[:10] + struct.pack(">H", checksum(header)) + header[12:] + udp


def ipv6(destination_mac, destination, kind, data, at):
    """`at`: the offset of the checksum in the data."""
    pseudo = OUR_LINK_LOCAL + destination + struct.pack(">II", len(data), kind)
    data = data[:at] + struct.pack(">H", checksum(pseudo + data)) + data[at + 2:]
    return destination_mac + US + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(data), kind, 255) + OUR_LINK_LOCAL + destination + data


def question(name, kind):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def frames(text):
    return [bytes.fromhex(line) for line in re.findall(r"^< ([0-9a-f]+)\r?\n", text, re.M) if len(line) % 2 == 0]


def exchange(m, frame, wanted):
    """Sends a frame; returns the first frame from the management guest after it for which wanted() holds. Sends again after two seconds of the machine's
    time: a record is multicast at most once a second (RFC 6762, section 6), so a question may have to be repeated."""
    m.wait_serial(r"\[wire\] wire: ready")
    start = m.get("/v1/guests/wire/console?format=json")["next"]
    sent = None

    def found(c):
        nonlocal sent
        now = m.get("/v1/host")["uptime_ms"]
        if sent is None or now - sent > 2000:
            m.type("wire", frame.hex() + "\n")
            sent = now
        return [f for f in frames(c["text"]) if wanted(f)]
    return found(m.wait_for(f"/v1/guests/wire/console?format=json&from={start}", found, "no answer"))[0]


def is_mdns(f):
    return f[12:14] == b"\x08\x00" and f[34:38] == b"\x14\xe9\x14\xe9" and f[44] & 0x80


def is_mdns6(f):
    return f[12:14] == b"\x86\xdd" and f[20] == 17 and f[54:58] == b"\x14\xe9\x14\xe9" and f[64] & 0x80


def test_name_by_multicast_dns(m):
    m.wait_serial(r"mgmt: also https://kettle\.local/ and http://kettle\.local/\n")
    query = ipv4_udp(bytes.fromhex("01005e0000fb"), [224, 0, 0, 251], 5353, question("kettle.local", 1))
    answer = exchange(m, query, lambda f: is_mdns(f) and b"\x06kettle\x05local" in f and bytes([0, 4, 10, 0, 2, 15]) in f)
    assert answer[:6].hex() == "01005e0000fb"


@pytest.mark.parametrize("service,port", [(b"_http", 80), (b"_https", 443)])
def test_service_by_multicast_dns_over_ipv6(m, service, port):
    m.wait_serial(r"mgmt: also https://kettle\.local/ and http://kettle\.local/\n")
    data = question(service.decode() + "._tcp.local", 12)
    udp = struct.pack(">HHHH", 5353, 5353, 8 + len(data), 0) + data
    query = ipv6(bytes.fromhex("3333000000fb"), socket.inet_pton(socket.AF_INET6, "ff02::fb"), 17, udp, 6)
    answer = exchange(m, query, lambda f: is_mdns6(f) and bytes([len(service)]) + service + b"\x04_tcp\x05local" in f)
    # SRV: priority, weight, port.
    assert b"\x06kettle" in answer and struct.pack(">HHH", 0, 0, port) in answer


def solicitation(target):
    """RFC 4861, section 4.3, with our link-layer address."""
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + target[13:]
    return ipv6(b"\x33\x33" + group[12:], group, 58, bytes([135, 0, 0, 0, 0, 0, 0, 0]) + target + b"\x01\x01" + US, 2)


def is_advertisement(f, target):
    return f[12:14] == b"\x86\xdd" and f[20] == 58 and f[54] == 136 and f[62:78] == target


def test_http_over_ipv6(m):
    m.wait_serial(r"mgmt: also https://\[fe80::5042:48ff:fe00:0\]/ and http://\[fe80::5042:48ff:fe00:0\]/\n")
    exchange(m, solicitation(MGMT_LINK_LOCAL), lambda f: is_advertisement(f, MGMT_LINK_LOCAL))
    syn = struct.pack(">HHIIBBHHH", 4000, 80, 1000, 0, 5 << 4, 2, 8192, 0, 0)
    answer = exchange(m, ipv6(MGMT, MGMT_LINK_LOCAL, 6, syn, 16), lambda f: f[12:14] == b"\x86\xdd" and f[20] == 6)
    assert struct.unpack(">HH", answer[54:58]) == (80, 4000) and answer[67] == 0x12, "no SYN and ACK"


def test_address_from_a_router(m):
    """RFC 4862: the prefix of an advertisement and the appliance's own identifier."""
    prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:1:2::")
    option = b"\x01\x01" + US + struct.pack(">BBBBIII", 3, 4, 64, 0xc0, 86400, 14400, 0) + prefix
    advertisement = bytes([134, 0, 0, 0, 64, 0]) + struct.pack(">HII", 1800, 0, 0) + option
    m.wait_serial(r"\[wire\] wire: ready")
    m.type("wire", ipv6(bytes.fromhex("333300000001"), socket.inet_pton(socket.AF_INET6, "ff02::1"), 58, advertisement, 2).hex() + "\n")
    m.wait_serial(r"mgmt: also https://\[2001:db8:1:2:5042:48ff:fe00:0\]/ and http://")
    address = prefix[:8] + MGMT_LINK_LOCAL[8:]
    exchange(m, solicitation(address), lambda f: is_advertisement(f, address))


def test_broken_frames(m):
    """Any guest on the switch can send anything; management keeps working."""
    good = question("kettle.local", 1)
    for data in (b"", good[:11], good[:20], good[:-1], good[:12] + b"\xc0\x0c\0\1\0\1", good[:12] + b"\x3f", good[:4] + b"\xff\xff" * 4 + good[12:]):
        m.type("wire", ipv4_udp(bytes.fromhex("01005e0000fb"), [224, 0, 0, 251], 5353, data).hex() + "\n")
    for kind in (133, 134, 135, 136, 137, 130, 131):
        m.type("wire", ipv6(MGMT, MGMT_LINK_LOCAL, 58, bytes([kind, 0, 0, 0]) + b"\xff" * 20 + b"\x01\x00" * 4, 2).hex() + "\n")
    test_name_by_multicast_dns(m)
    assert len(re.findall("guest mgmt: started", m.serial())) == 1
    assert len(re.findall("mgmt: also https://kettle", m.serial())) == 1, "said again for each address"


def dhcp_options(f):
    """The options of a DHCP message to a server (RFC 2131, RFC 2132), or {}."""
    at = f.find(b"\x63\x82\x53\x63")
    if f[12:14] != b"\x08\x00" or f[23] != 17 or f[34:38] != struct.pack(">HH", 68, 67) or at < 0:
        return {}
    options, rest = {}, f[at + 4:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        options[rest[0]], rest = rest[2:2 + rest[1]], rest[2 + rest[1]:]
    return options


def test_dhcp_is_told_the_host_name(m):
    """The DHCP request carries the host name: many routers' name servers take it from there."""
    m.wait_serial(r"\[wire\] wire: ready")
    start, at = m.get("/v1/guests/wire/console?format=json")["next"], len(m.serial())
    with m.connect() as c:
        c.send(b'POST /v1/guests/mgmt/actions HTTP/1.1\r\nHost: kettle\r\nContent-Length: 18\r\n\r\n{"action":"reset"}')
        m.wait_serial("management address", at)
    sent = {}

    def requested(c):
        for f in frames(c["text"]):
            options = dhcp_options(f)
            sent.setdefault(options.get(53), options)
        return b"\x03" in sent  # DHCPREQUEST
    m.wait_for(f"/v1/guests/wire/console?format=json&from={start}", requested, "no request was seen")
    assert sent[b"\x03"][12] == b"kettle", sent  # host name


def test_time(m):
    m.wait_serial(r"mgmt: the time is 2033-05-18T03:33:20\.\d{6}Z")
    assert "mgmt: warning: the time server says that it does not know the time: not used\n" in m.serial()
    host = m.get("/v1/host")
    now, boot = (datetime.datetime.fromisoformat(host[k].replace("Z", "+00:00")) for k in ("time", "boot_time"))
    assert host["time_source"] == "ntp" and abs((now - boot).total_seconds() - host["uptime_ms"] / 1000) < 0.1
    assert now.timestamp() >= THEN
    event = m.get("/v1/events?follow=0")["events"][0]
    at = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    assert abs((at - boot).total_seconds() - event["uptime_ms"] / 1000) < 0.1


def test_syslog(m, syslog):
    stamp = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    # From the first line on, though that is older than the network.
    syslog.wait(rb"^<134>1 " + stamp + rb" kettle bulkhead - - - core 0: Bulkhead ")
    syslog.wait(rb"^<134>1 " + stamp + rb" kettle bulkhead - - - core \d: guest wire: started .*core 0\)$")
    syslog.wait(rb"^<134>1 " + stamp + rb" kettle bulkhead wire - - wire: ready$")
    # Each line of the log once, in order.
    m.wait_serial(r"mgmt: the time is ")
    syslog.wait(rb"mgmt: the time is ")
    log = [line.split("] ", 1)[1] for line in m.request("GET", "/v1/log?format=text")[2].splitlines()]
    last = next(i for i, line in enumerate(log) if "the time is" in line)
    with syslog.change:
        sent = [d.split(b" - - - ", 1)[1].decode() for d in syslog.received if b" bulkhead - - - " in d]
    assert sent[:last + 1] == log[:last + 1]
