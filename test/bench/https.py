"""What TLS costs: ticks of the management guest for a handshake, requests in a second of the machine's own time."""
import concurrent.futures
import socket
import ssl
import tempfile

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\n\r\n"
CLIENTS, AT_ONCE, ROUNDS = 4, 20, 5


def context():
    c = ssl.create_default_context()
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def connect(m, tls, session=None):
    s = socket.create_connection(("127.0.0.1", m.https_port if tls else m.port), timeout=60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(s, session=session) if tls else s


def ask(s, n):
    """Pipelined. One reader for all answers: it reads ahead."""
    s.sendall(REQUEST * n)
    with s.makefile("rb") as f:
        for _ in range(n):
            assert f.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := f.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split()[1])
            assert len(f.read(length)) == length


def ticks(m):
    return m.guest("mgmt")["vcpus"][0]["run_ticks"]


def handshakes(m):
    """(full, resumed), without what the request and its connection cost."""
    def cost(tls, session=None):
        before = ticks(m)
        with connect(m, tls, session) as s:
            ask(s, 1)
            kept = s.session if tls else None
        return ticks(m) - before, kept
    cost(None)
    bare, _ = cost(None)
    tls = context()
    cost(tls)
    full, session = cost(tls)
    resumed, _ = cost(tls, session)
    return full - bare, resumed - bare


def rate(m, tls):
    """Requests in a second. Pipelined, so that it is not the client that is waited for."""
    clients = [connect(m, tls) for _ in range(CLIENTS)]

    def work(s):
        for _ in range(ROUNDS):
            ask(s, AT_ONCE)
    begun, ran = m.get("/v1/host")["uptime_ms"], ticks(m)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, clients))
    n = CLIENTS * AT_ONCE * ROUNDS
    result = n * 1000 / (m.get("/v1/host")["uptime_ms"] - begun), (ticks(m) - ran) // n
    for s in clients:
        s.close()
    return result


def rows():
    from appliance import Appliance
    for cpus in (1, 4):
        with tempfile.TemporaryDirectory() as d:
            m = Appliance(d, {"guests": [], "management": {"auth": "none", "http": "plain"}}, cpus=cpus)
            try:
                if cpus == 1:
                    full, resumed = handshakes(m)
                    yield "TLS handshake", f"full {full}, resumed {resumed} ticks", ""
                for name, tls in (("HTTP", None), ("HTTPS", context())):
                    per_second, each = rate(m, tls)
                    yield f"{name}, small answers, {cpus} cores", f"{per_second:.0f}/s, {each} ticks each", ""
            finally:
                m.stop()
