"""Runs bhctl for the tests, in pipes and in a terminal, and fake servers for it."""
import http.server
import os
import pty
import re
import select
import ssl
import subprocess
import termios
import threading
import time

BUILD = os.environ.get("BULKHEAD_BUILD", "build")
BHCTL = os.path.abspath(f"{BUILD}/bhctl")
ECHO = f"{BUILD}/guests/echo.elf"
LIMIT = 180  # seconds of real time after which something counts as hung
COMMANDS = ("guests", "status", "deploy", "run", "delete", "start", "stop", "pause", "resume", "reset", "nmi", "console", "images", "vmcs", "vmcb", "dump", "compare", "top", "events", "log", "config", "host", "reboot",
            "contexts", "hash-token")


def environment(url="http://127.0.0.1:9", token="", **more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("BULKHEAD_")}
    return {**kept, "BULKHEAD_URL": url, "BULKHEAD_TOKEN": token, "TERM": "xterm", "XDG_CONFIG_HOME": "/nonexistent", **more}


def bare(*args, stdin=b"", **env):
    """(exit status, standard output, standard error)"""
    r = subprocess.run([BHCTL, *map(str, args)], input=stdin, capture_output=True, timeout=2 * LIMIT, check=False, env=environment(**env))
    return r.returncode, r.stdout.decode(), r.stderr.decode()


def address(m):
    return f"http://127.0.0.1:{m.port}"


def run(m, *args, token=None, patient=True, **more):
    """Retries while bhctl cannot reach it: the emulator's network takes one new connection at a time, and the management guest may be restarting."""
    end = time.monotonic() + LIMIT
    while True:
        answer = bare(*args, **{"url": address(m), **more}, token=m.token if token is None else token)
        if answer[0] != 3 or not patient or time.monotonic() > end:
            return answer


def says(m, *args, **more):
    """What it prints on success."""
    status, out, err = run(m, *args, **more)
    assert status == 0, (args, status, out, err)
    return out


def refused(m, status, *args, **more):
    """What it prints on standard error; it must end with this exit status and print nothing on standard output."""
    got, out, err = run(m, *args, **more)
    assert got == status and out == "" and err.startswith("bhctl: "), (args, got, out, err)
    return err


class Other:
    """A server that gives every request the same answer, and records requests. `hook`, if set, is called first with the handler, and returns True if it has
    answered."""

    hook = None

    def __init__(self, status=200, body=b"{}", headers=(), certificate=None):
        asked = self.asked = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
                if server.hook and server.hook(self):
                    return
                self.say(status, body, headers)

            def say(self, status, body, headers=()):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server.server_port}"
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate.with_suffix(".pem"), certificate.with_suffix(".key"))
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
            self.server.handle_error = lambda *_: None

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def cut(handler):
    """For a hook: the connection ends without an answer."""
    handler.close_connection = True
    return True


def chunk(handler, data):
    """A chunk of an endless answer; b"" ends it."""
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def begin_stream(handler, kind="text/plain"):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


class Running:
    """A running bhctl, in a terminal or with pipes. `m`: an appliance, or another server."""

    def __init__(self, m, *args, terminal=False, **more):
        self.m = m
        self.seen = ""
        env = environment(m.url, "t", **more) if isinstance(m, Other) else environment(**{"url": address(m), "token": m.token, **more})
        if terminal:
            self.input, other = pty.openpty()
            self.output, self.terminal = self.input, other
            self.before = termios.tcgetattr(other)
            self.process = subprocess.Popen([BHCTL, *args], stdin=other, stdout=other, stderr=other, env=env, start_new_session=True)
        else:
            self.process = subprocess.Popen([BHCTL, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
            self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def send(self, data):
        os.write(self.input, data)

    def until(self, pattern, after=0):
        """The end of the first match from `after` on."""
        end = time.monotonic() + LIMIT
        while not (match := re.compile(pattern).search(self.seen, after)):
            assert time.monotonic() < end, (pattern, self.seen)
            if select.select([self.output], [], [], 0.1)[0]:
                try:
                    data = os.read(self.output, 65536)
                except OSError:  # the other side of a terminal is closed
                    data = b""
                assert data, (pattern, self.seen)
                self.seen += data.decode("utf-8", "replace")
        return match.end()

    def ended(self):
        """Its exit status; reads the rest of its output meanwhile."""
        end = time.monotonic() + LIMIT
        while self.process.poll() is None:
            assert time.monotonic() < end, self.seen
            if select.select([self.output], [], [], 0.05)[0]:
                self.seen += os.read(self.output, 65536).decode("utf-8", "replace")
        while select.select([self.output], [], [], 0)[0]:
            try:
                data = os.read(self.output, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data.decode("utf-8", "replace")
        return self.process.returncode


def persistently(m, *args, terminal=False, first, **more):
    """A command that has got as far as showing `first`."""
    end = time.monotonic() + LIMIT
    while True:
        r = Running(m, *args, terminal=terminal, **more)
        try:
            r.until(first)
            return r
        except AssertionError:
            if "cannot be reached" not in r.seen or time.monotonic() > end:
                raise
        finally:
            if not re.search(first, r.seen):
                r.__exit__()
