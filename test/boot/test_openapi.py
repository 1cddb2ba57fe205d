"""/openapi.json describes the API completely and correctly."""
import json
import re

import jsonschema
import pytest

import openapi

CONFIG = {"guests": [{"name": "hog", "image": "guests/hog.elf", "memory": "2M"}, {"name": "echo", "image": "guests/echo.elf", "memory": "4M"}, {"name": "bad", "image": "nothing", "memory": "2M"}],
          "shared": [{"name": "notes", "size": "2M", "peers": ["hog", "echo"]}]}
ARGUMENTS = {"guest": "hog", "vcpu": "0", "sequence": "2", "file": "app.js", "name": "image"}


@pytest.fixture(scope="module")
def m(start):
    m = start(CONFIG, cpus=2)
    assert m.request("PUT", "/v1/images/image", b"\xf4")[0] == 201
    assert m.request("POST", "/v1/guests/hog/vcpus/0/vmcs/snapshots")[0] == 201
    return m


def nodes(node):
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def test_served(m):
    status, headers, body = m.request("GET", "/openapi.json", headers={"Authorization": ""})
    with open(openapi.PATH, encoding="utf-8") as f:
        assert (status, headers["Content-Type"], body) == (200, "application/json", f.read())


def test_is_valid():
    d = openapi.document()
    assert d["openapi"] == "3.1.0" and d["info"]["title"] and d["info"]["version"]
    for node in nodes(d):
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            assert openapi.resolve(node)
    for schema in d["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [o["operationId"] for item in d["paths"].values() for k, o in item.items() if k != "parameters"]
    assert len(names) == len(set(names))
    for path, item in d["paths"].items():
        assert [p["name"] for p in item.get("parameters", [])] == re.findall(r"\{(\w+)\}", path)
        for method, o in item.items():
            assert method == "parameters" or (o["summary"] and o["responses"] and ("security" in o or "Needs the role" in o["description"]))


def test_is_the_router():
    """Every path and method is described, with the role that it needs and the parameters that it takes."""
    with open("mgmt/route.c", encoding="utf-8") as f:
        text = f.read()
    words = dict(re.findall(r'#define (\w+_QUERY) +("[^"]*")', text))
    table = text.split("routes[] = {", 1)[1].split("\n};", 1)[0]
    routed, queries = {}, {}
    for entry in re.findall(r"\{\.path = \{([^}]*)\}(.*?)\},?\s*(?:/\*.*?\*/)?\s*(?=\{\.path|$)", table, re.S):
        path = "/" + "/".join(re.findall(r'"([^"]+)"', entry[0]))
        roles = {k: v.lower() for k, v in re.findall(r"\.(look|change) = ROLE_(\w+)", entry[1])}
        for method, query in re.findall(r"\.(get|post|put|patch|delete) = \{(?:\.handler = )?\w+(?:, ([^}]+))?\}", entry[1]):
            queries[path.replace("*", "{}"), method] = set(words.get(query, query).strip('"').split())
            routed[path.replace("*", "{}"), method] = "open" if ".open = true" in entry[1] else roles.get("look" if method == "get" else "change", "read")
    described = {}
    for path, item in openapi.document()["paths"].items():
        for method, o in item.items():
            if method != "parameters":
                described[re.sub(r"\{\w+\}", "{}", path), method] = "open" if o.get("security") == [] else re.search(r"role `(\w+)`", o["description"]).group(1)
                names = {p["name"] for p in o.get("parameters", []) if p["in"] == "query"}
                assert queries[re.sub(r"\{\w+\}", "{}", path), method] in (names, {"*"})
    assert described == routed


@pytest.mark.parametrize("method,target,status,headers,body", [
    ("GET", "/healthz", 200, {}, "{}"),                                     # a required member is missing
    ("GET", "/healthz", 200, {}, '{"status":"ok","more":1}'),               # a member is not described
    ("GET", "/healthz", 200, {"Content-Type": "text/html"}, "ok"),
    ("GET", "/healthz", 404, {}, '{"error":{"status":404,"reason":"Not Found","message":"x"}}'),
    ("GET", "/healthz", 401, {}, '{"error":{"status":401,"reason":"Unauthorized","message":"x"}}'),  # no challenge
    ("GET", "/healthz", 429, {"Retry-After": "0"}, '{"error":{"status":429,"reason":"Too Many Requests","message":"x"}}'),
    ("GET", "/healthz", 200, {}, "not JSON"),
    ("POST", "/healthz", 405, {}, '{"error":{"status":405,"reason":"Method Not Allowed","message":"x"}}'),  # no Allow
    ("GET", "/nowhere", 200, {}, "{}"), ("GET", "/nowhere", 404, {}, "{}"), (None, None, 200, {}, "{}"), (None, None, 500, {}, "{}"),
    ("PUT", "/v1/images/a", 201, {}, '{"name":"a","size":1,"sha256":null,"source":"upload","used_by":[]}'),  # no Location
    ("DELETE", "/v1/images/a", 204, {}, "x"), ("GET", "/v1/guests", 308, {}, ""),
])
def test_what_is_not_described_is_found(method, target, status, headers, body):
    with pytest.raises((AssertionError, json.JSONDecodeError)):
        openapi.check_answer(method, target, status, {"Content-Type": "application/json", **headers}, body)


def test_requests_are_told_apart():
    r = openapi.Requests()
    r.add(b"\r\nGET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nA: b\r\nContent-Length: 3\r\n\r\nGETPUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2;a=b\r\n\r\n\r\n0\r\nT: t\r\n\r\nDELETE /d HTTP/1.0\r\n\r\nx")
    seen = []
    for _ in range(5):
        seen.append(r.first())
        r.drop()
    assert seen == [("GET", "/a"), ("POST", "/b"), ("PUT", "/c"), ("DELETE", "/d"), (None, None)]


def targets():
    for path, item in openapi.document()["paths"].items():
        if "get" in item:
            target = re.sub(r"\{(\w+)\}", lambda k: ARGUMENTS[k.group(1)], path)
            yield target + {"/v1/events": "?follow=0", "/v1/guests/hog/vcpus/0/vmcs/diff": "?from=2"}.get(target, "")


@pytest.mark.parametrize("target", list(targets()))
def test_answers(m, target):
    """Each resource's answers, as JSON and as text, with and without permission."""
    for headers in ({}, {"Accept": "text/plain"}, {"Authorization": "Bearer"}):
        status, got, body = m.request("GET", target, headers=headers)
        openapi.check_answer("GET", target, status, got, body)
        of_svm = "/vmcb" in target or "/svm/" in target
        runs = target.endswith("/memory")  # and nobody may read its memory then
        assert status in ((501,) if of_svm and "Authorization" not in headers else (409,) if runs and "Authorization" not in headers else (200, 426) if "Authorization" not in headers else (200, 401))
        assert status != 501 or "VT-x" in body and "vm" in body.split("use ")[1]


@pytest.mark.parametrize("method,target,body,expected", [
    ("PATCH", "/v1/guests/hog/vcpus/0/vmcs", '{"exit_profile":"most"}', 200), ("PATCH", "/v1/guests/hog/vcpus/0/vmcs", "[]", 400),
    ("GET", "/v1/guests/nobody", None, 404), ("GET", "/v1/guests/bad", None, 200), ("GET", "/v1/guests/bad/vcpus/0/vmcs", None, 409), ("GET", "/v1/log?from=x", None, 400),
    ("POST", "/v1/guests/hog/actions", '{"action":"resume"}', 409), ("POST", "/v1/guests/hog/actions", '{"action":"nmi"}', 202), ("POST", "/v1/guests/hog/actions", "{}", 400),
    ("POST", "/v1/guests/echo/console", "x", 200), ("POST", "/v1/guests", "{}", 400), ("POST", "/v1/guests", '{"name":"hog","image":"guests/hog.elf"}', 409),
    ("POST", "/v1/guests", '{"name":"new","image":"guests/hog.elf","memory":"2M"}', 201), ("DELETE", "/v1/guests/new", None, 204), ("DELETE", "/v1/guests/mgmt", None, 409),
    ("PUT", "/v1/images/image", b"xy", 200), ("PUT", "/v1/images/.x", b"xy", 400), ("DELETE", "/v1/images/image", None, 204), ("DELETE", "/v1/images/image", None, 404),
    ("POST", "/v1/vmx/decode", "x", 400), ("PATCH", "/v1/guests/hog/vcpus/0/vmcb", '{"exit_profile":"most"}', 501),
    ("GET", "/v1/guests/hog/vcpus/0/exits?n=3&reason=external_interrupt", None, 200), ("GET", "/v1/guests/hog/vcpus/0/exits?reason=none", None, 400),
    ("GET", "/v1/guests?x=1", None, 400), ("POST", "/healthz", None, 405), ("POST", "/v1/guests/echo/actions", '{"action":"re\\u0073et"}', 202),
    ("POST", "/v1/guests", '{"name":"caf\\u00e9"}', 400), ("POST", "/v1/guests", '{"name":"\\ud83d"}', 400),
    ("POST", "/v1/guests", json.dumps({"name": "text", "image": "guests/hog.elf", "memory": "2M", "cmdline": "caf\u00e9 \U0001f600"}), 201),
    ("POST", "/v1/guests", '{"name":"nul","image":"guests/hog.elf","memory":"2M","cmdline":"a\\u0000b"}', 400),
    ("POST", "/v1/guests/hog/actions", "x" * 9000, 413),
])
def test_changes(m, method, target, body, expected):
    status, headers, text = m.request(method, target, body)
    assert status == expected, text
    openapi.check_answer(method, target, status, headers, text)


def test_text_comes_back(m):
    """As it was sent: not encoded twice, and not cut."""
    assert m.guest("text")["configuration"]["cmdline"] == "caf\u00e9 \U0001f600"
    assert m.request("GET", "/v1/guests/text?format=text")[2].count("cmdline: caf\u00e9 \U0001f600\n") == 1


def test_last_exits(m):
    exits = m.get("/v1/guests/hog/vcpus/0/exits?n=5")
    assert len(exits["exits"]) == 5 and exits["exits"][-1]["sequence"] == exits["recorded"] - 1
    reason = exits["exits"][0]["reason"]
    some = m.get(f"/v1/guests/hog/vcpus/0/exits?reason={reason.lower()}")["exits"]
    assert some and {e["reason"] for e in some} == {reason}
