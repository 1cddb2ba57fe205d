"""Who may do what: with the random token of a boot, with configured tokens of each role, and without any."""
import hashlib
import json
import re

import pytest

GUESTS = [{"name": "hog", "image": "guests/hog.elf", "memory": "2M"}]
TOKENS = {"read": "look-here", "operate": "do-this", "admin": "do-all"}
SALT = bytes(range(16))
HOG = "/v1/guests/hog"
VCPU = HOG + "/vcpus/0"
OPEN = ["/", "/page/app.js", "/openapi.json", "/healthz"]
READ = [("GET", path) for path in (
    "/metrics", "/v1/whoami", "/v1/host", "/v1/log", "/v1/events?follow=0", "/v1/guests", HOG, HOG + "/history", HOG + "/console", VCPU + "/exits", VCPU + "/vmcs",
    VCPU + "/vmcs/snapshots", VCPU + "/vmcs/snapshots/1", VCPU + "/vmcs/diff?from=1", VCPU + "/vmcs/check", "/v1/vmx/capabilities", "/v1/vmx/layout", "/v1/compare", "/v1/images", "/v1/images/none")]
# This machine has VT-x: these answer 501.
READ += [("GET", path) for path in (VCPU + "/vmcb", VCPU + "/vmcb/snapshots", VCPU + "/vmcb/snapshots/1", VCPU + "/vmcb/diff?from=1", VCPU + "/vmcb/check", "/v1/svm/capabilities")]
READ += [("POST", "/v1/vmx/decode")]
CHANGE = [("POST", HOG + "/console"), ("POST", HOG + "/actions"), ("PATCH", VCPU + "/vmcs"), ("POST", VCPU + "/vmcs/snapshots"), ("GET", HOG + "/terminal")]
ADMIN = [("GET", "/v1/config"), ("GET", HOG + "/memory?from=x"), ("POST", "/v1/guests"), ("DELETE", "/v1/guests/nobody"), ("PUT", "/v1/images/none"), ("DELETE", "/v1/images/none"), ("POST", "/v1/host/actions")]
# The token is checked before everything else, even if the resource or method does not exist.
CLOSED = READ + CHANGE + ADMIN + [("GET", "/v1/nowhere"), ("GET", "/v1"), ("GET", "/v1/host?format=x"), ("HEAD", "/v1/host"), ("OPTIONS", "/v1/host"),
                          ("DELETE", HOG), ("GET", "/v1/events"), ("GET", "/v1/log?follow=1"), ("GET", HOG + "/console?follow=1")]


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def random(start):
    return start({"guests": GUESTS})


@pytest.fixture(scope="module")
def configured(start):
    tokens = [{"name": "t-" + role, "role": role, "salt": SALT.hex(), "sha256": hashlib.sha256(SALT + token.encode()).hexdigest()} for role, token in TOKENS.items()]
    return start({"guests": GUESTS, "management": {"auth": {"tokens": tokens}}})


def is_challenge(method, answer):
    status, headers, body = answer
    assert status == 401 and headers["WWW-Authenticate"] == 'Bearer realm="bulkhead"', answer
    assert method == "HEAD" or json.loads(body)["error"]["status"] == 401


def test_every_route_is_in_the_list():
    """Reads the router's own table: a new route there must be listed here."""
    with open("mgmt/route.c", encoding="utf-8") as f:
        table = f.read().split("routes[] = {", 1)[1].split("\n};", 1)[0]
    paths = {tuple(re.findall(r'"([^"]+)"', p)) for p in re.findall(r"\.path = \{([^}]*)\}", table)}
    known = {tuple(s for s in path.split("?")[0].split("/") if s) for _, path in READ + CHANGE + ADMIN} | {tuple(s for s in p.split("/") if s) for p in OPEN}

    def same(route, path):
        return len(route) == len(path) and all(r in ("*", s) for r, s in zip(route, path))

    assert len(paths) > 15 and all(any(same(("",) if p == ("NULL",) else p, k) for k in known) for p in paths), paths


def test_open_without_a_token(configured):
    for path in OPEN:
        assert configured.request("GET", path)[0] == 200


@pytest.mark.parametrize("method,path", CLOSED)
def test_closed_without_a_token(configured, method, path):
    is_challenge(method, configured.request(method, path))
    for malformed in ("Bearer", "Bearer ", "Basic bG9vay1oZXJl", "look-here", "?"):
        is_challenge(method, configured.request(method, path, headers={"Authorization": malformed}))


def forgive(m):
    """Wrong tokens are counted and slow the client; a right one resets the count."""
    assert m.request("GET", "/v1/whoami", headers=bearer(TOKENS["admin"]))[0] == 200


@pytest.mark.parametrize("method,path", CLOSED)
def test_closed_with_a_wrong_token(configured, method, path):
    """Nearly right tokens, and one that is too long for any field. The answer reveals nothing about the path: it is the same for every path."""
    for wrong in (TOKENS["admin"] + "x", TOKENS["admin"][:-1], TOKENS["read"].upper(), "a" * 121):
        forgive(configured)
        status, headers, body = configured.request(method, path, "{}" if method in ("POST", "PATCH") else None, bearer(wrong))
        is_challenge(method, (status, headers, body))
        forgive(configured)
        assert body == configured.request(method, "/v1/nowhere", headers=bearer(wrong))[2]
    forgive(configured)


@pytest.mark.parametrize("method,path", READ)
def test_read_may_look(configured, method, path):
    assert configured.request(method, path, headers=bearer(TOKENS["read"]))[0] not in (401, 403, 405, 429)


@pytest.mark.parametrize("method,path", CHANGE)
def test_read_may_not_change(configured, method, path):
    status, _, body = configured.request(method, path, "", bearer(TOKENS["read"]))
    assert status == 403 and "operate" in json.loads(body)["error"]["message"]
    for role in ("operate", "admin"):
        assert configured.request(method, path, "{}" if method == "PATCH" else "", bearer(TOKENS[role]))[0] not in (401, 403, 405, 429)


@pytest.mark.parametrize("method,path", ADMIN)
def test_only_admin_may(configured, method, path):
    for role in ("read", "operate"):
        status, _, body = configured.request(method, path, "", bearer(TOKENS[role]))
        assert status == 403 and "admin" in json.loads(body)["error"]["message"]
    assert configured.request(method, path, "", bearer(TOKENS["admin"]))[0] in (200, 400, 404)


def test_whoami_and_audit(configured):
    for role, token in TOKENS.items():
        status, _, body = configured.request("GET", "/v1/whoami", headers=bearer(token))
        assert status == 200 and json.loads(body) == {"name": "t-" + role, "role": role}
    assert configured.request("POST", HOG + "/actions", '{"action":"nmi"}', bearer(TOKENS["operate"]))[0] == 202
    log = configured.request("GET", "/v1/log", headers=bearer(TOKENS["read"]))[2]
    assert re.search(r"t-operate from 10\.0\.2\.\d+: POST /v1/guests/hog/actions nmi: 202", log)
    assert not any(token in log for token in TOKENS.values())


def test_audit_says_how_a_change_that_waits_ended(configured):
    admin = bearer(TOKENS["admin"])
    assert configured.request("POST", "/v1/guests", '{"name": "brief", "image": "guests/hog.elf", "memory": "2M"}', admin)[0] == 201
    assert configured.request("DELETE", "/v1/guests/brief", headers=admin)[0] == 204
    log = configured.request("GET", "/v1/log", headers=bearer(TOKENS["read"]))[2]
    lines = re.findall(r"t-admin from 10\.0\.2\.\d+: DELETE /v1/guests/brief: (\d+)(?:, request (\d+) (waits|waited))?", log)
    number = lines[0][1]  # unless its core was faster than the answer
    assert lines == ([("202", number, "waits"), ("204", number, "waited")] if number else [("204", "", "")])


def test_wrong_tokens_are_slowed(configured):
    for _ in range(5):
        is_challenge("GET", configured.request("GET", "/v1/host", headers=bearer("guess")))
    status, headers, body = configured.request("GET", "/v1/host", headers=bearer("guess"))
    assert status == 429 and int(headers["Retry-After"]) == 1 and json.loads(body)["error"]["status"] == 429
    assert configured.request("GET", "/")[0] == 200
    # Other clients at the same address are not locked out.
    assert configured.request("GET", "/v1/host", headers=bearer(TOKENS["read"]))[0] == 200


def test_refusals_are_in_the_log(configured):
    """Refusals are logged, at most a few per address in ten seconds; earlier tests' count too."""
    for _ in range(5):
        assert configured.request("GET", "/v1/host?x=secret", headers=bearer("guess"))[0] in (401, 429)
    log = configured.request("GET", "/v1/log", headers=bearer(TOKENS["read"]))[2]
    refused = re.findall(r"mgmt: refused: (?:unknown client|t-\w+ \(\w+\)) from 10\.0\.2\.\d+: (?:GET|HEAD|POST|PUT|PATCH|DELETE) /\S*: 4(?:01|03|29)", log)
    assert refused and len(refused) == log.count("refused: ") and "secret" not in log and "guess" not in log
    assert len(refused) <= 4 * (float(re.findall(r"\[ *(\d+\.\d+)\]", log)[-1]) / 10 + 1)


def test_nobody_without_admin_ends_management(configured):
    for action in ("stop", "pause", "nmi"):
        for role in ("operate", "admin"):
            assert configured.request("POST", "/v1/guests/mgmt/actions", json.dumps({"action": action}), bearer(TOKENS[role]))[0] == 409
    assert configured.request("POST", "/v1/guests/mgmt/actions", '{"action":"reset"}', bearer(TOKENS["operate"]))[0] == 403
    for role in ("operate", "admin"):
        status, _, body = configured.request("PATCH", "/v1/guests/mgmt/vcpus/0/vmcs", '{"exit_profile":"most"}', bearer(TOKENS[role]))
        assert status == 409 and "management guest" in body
    guest = json.loads(configured.request("GET", "/v1/guests/mgmt", headers=bearer(TOKENS["read"]))[2])
    assert guest["state"] == "running" and guest["restarts"] == 0


def test_what_browsers_are_told(configured):
    for path, token in (("/", None), ("/page/app.js", None), ("/v1/host", TOKENS["read"]), ("/v1/host", "guess"), ("/nowhere", TOKENS["read"])):
        headers = configured.request("GET", path, headers=bearer(token) if token else {})[1]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert "Strict-Transport-Security" not in headers  # the certificate is our own


def test_random_token_is_shown_once_and_nowhere_else(random):
    assert len(random.token) == 32 and random.serial().count(random.token) == 1
    assert random.get("/v1/whoami") == {"name": "console", "role": "admin"}
    for path in ("/v1/log", "/v1/host", "/metrics", "/v1/guests/mgmt", "/v1/guests/mgmt/console", "/v1/guests/mgmt/vcpus/0/vmcs?decode=1", "/v1/guests/mgmt/vcpus/0/exits"):
        status, _, body = random.request("GET", path)
        assert status == 200 and random.token not in body
    is_challenge("GET", random.request("GET", "/v1/host", headers=bearer(random.token[:-1])))


def test_random_token_outlives_the_management_guest(random):
    at = len(random.serial())
    with random.connect() as c:
        c.send(b'POST /v1/guests/mgmt/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n{"action":"reset"}')
        random.wait_serial("management address", at)
    assert random.get("/v1/whoami")["role"] == "admin"


def test_none_is_written_out(start):
    m = start({"guests": GUESTS, "management": {"auth": "none"}})
    assert m.token == "" and m.get("/v1/whoami") == {"name": None, "role": "admin"}
    m.stop()
