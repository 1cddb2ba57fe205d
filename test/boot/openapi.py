"""The API's description, mgmt/openapi.json, for the tests: which answer it describes for a request, and whether an answer conforms."""
import functools
import json
import re
import urllib.parse

import jsonschema

PATH = "mgmt/openapi.json"


@functools.lru_cache(maxsize=None)
def document():
    with open(PATH, encoding="utf-8") as f:
        return json.load(f)


def resolve(node):
    while "$ref" in node:
        at = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        node = at
    return node


@functools.lru_cache(maxsize=None)
def templates():
    """(template, pattern) for each path; those without parameters first."""
    paths = sorted(document()["paths"], key=lambda p: p.count("{"))
    return [(p, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(p)) + "$")) for p in paths]


def operation(method, target):
    """The operation of a request, or None. Escapes are decoded, and empty segments ignored."""
    path = re.sub(r"(?i)^https?://[^/?]*", "", target).split("?")[0]
    path = "/" + "/".join(urllib.parse.unquote(s).replace("/", "%2F") for s in path.split("/") if s)
    for template, pattern in templates():
        if pattern.match(path):
            return document()["paths"][template].get({"HEAD": "get"}.get(method, method.lower()))
    return None


@functools.lru_cache(maxsize=None)
def validator(text):
    schema = json.loads(text)
    schema["components"] = document()["components"]
    return jsonschema.Draft202012Validator(schema)


# Refusals before a request is looked at: the response "default" of each operation.
EARLY = (400, 408, 411, 413, 414, 415, 421, 431, 501, 503)
# Answers to requests without a description: no such resource, or not this method.
ELSEWHERE = {401: "NoToken", 403: "Forbidden", 404: "NotFound", 405: "NoMethod", 429: "Slowed"}


def response(method, target, status):
    """The response described for this status."""
    if status == 308:
        return document()["components"]["responses"]["Redirect"]
    described = operation(method, target)["responses"] if operation(method, target) else {}
    if str(status) in described:
        return resolve(described[str(status)])
    if status in EARLY:
        return document()["components"]["responses"]["Refused"]
    assert not described and status in ELSEWHERE, f"{method} {target}: {status} is not described"
    return document()["components"]["responses"][ELSEWHERE[status]]


def check_header(name, header, value):
    assert value is not None or not header.get("required"), f"{name} is missing"
    if value is not None:
        schema = {**header["schema"], "components": document()["components"]}
        jsonschema.validate(int(value) if schema.get("type") == "integer" else value, schema)


def check_answer(method, target, status, headers, body):
    """Fails if an answer is not as described. `headers`: names in any case. `body`: text or bytes, None if it was not read. An invalid request has no
    method."""
    what = f"{method} {target}: {status}"
    found = response(method or "", target or "", status)
    got = {k.lower(): v for k, v in headers.items()}
    try:
        for name, header in found.get("headers", {}).items():
            check_header(name, header, got.get(name.lower()))
    except Exception as e:
        raise AssertionError(f"{what}: {e}") from e
    if "content" not in found:
        assert body is None or not body, f"{what}: a body is not described: {body[:300]}"
        return
    kind = got.get("content-type", "")
    content = next((c for t, c in found["content"].items() if t.split(";")[0] == kind.split(";")[0]), None)
    assert content is not None, f"{what}: {kind!r} is not described"
    if body is not None and method != "HEAD" and kind.startswith("application/json"):
        error = jsonschema.exceptions.best_match(validator(json.dumps(content["schema"])).iter_errors(json.loads(body)))
        assert error is None, f"{what}: {error.message} at {error.json_path}"


class Requests:
    """The requests that a client has sent, so that each answer can be checked against its request."""

    LINE = re.compile(rb"(?:\r?\n)*([A-Z]+) ([^ \r\n]+) HTTP/1\.[01]\r?\n")

    def __init__(self):
        self.sent = b""

    def add(self, data):
        self.sent += data

    def first(self):
        """(method, target) of the next request to be answered, or (None, None) if it is not a valid request."""
        line = self.LINE.match(self.sent)
        return tuple(part.decode("latin-1") for part in line.groups()) if line else (None, None)

    def drop(self):
        """It has been answered."""
        line = self.LINE.match(self.sent)
        head, _, rest = self.sent[line.end():].partition(b"\r\n\r\n") if line else (b"", b"", b"")
        if line and self.sent[line.end():].startswith(b"\r\n"):
            head, rest = b"", self.sent[line.end() + 2:]
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        if re.search(rb"(?im)^transfer-encoding: *chunked", head):
            rest = self.behind_chunks(rest)
        self.sent = rest[int(length.group(1)):] if length else rest

    @staticmethod
    def behind_chunks(rest):
        while size := re.match(rb"([0-9a-fA-F]+)[^\r\n]*\r\n", rest):
            rest = rest[size.end():]
            if int(size.group(1), 16) == 0:  # what remains are trailers
                return rest[2:] if rest.startswith(b"\r\n") else rest.partition(b"\r\n\r\n")[2]
            rest = rest[int(size.group(1), 16) + 2:]
        return b""
