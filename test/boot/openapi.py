"""The API's description, mgmt/openapi.json, as the tests use it: which answer it promises for a request, and whether one keeps the promise."""
import functools
import json
import re

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
    """The operation of a request, or None."""
    path = target.split("?")[0]
    for template, pattern in templates():
        if pattern.match(path):
            return document()["paths"][template].get({"HEAD": "get"}.get(method, method.lower()))
    return None


@functools.lru_cache(maxsize=None)
def validator(text):
    schema = json.loads(text)
    schema["components"] = document()["components"]
    return jsonschema.Draft202012Validator(schema)


# Of any path, before it is looked at: the response "Refused".
REFUSED = (400, 408, 413, 414, 421, 431, 501, 503)


def check(method, target, status, content_type, body):
    """Fails when the answer is not as it is described."""
    described = operation(method, target)
    assert described, f"{method} {target} is not described"
    response = described["responses"].get(str(status)) or (described["responses"]["default"] if status in REFUSED else None)
    assert response, f"{method} {target}: {status} is not described: {body[:300]}"
    content = resolve(response).get("content", {})
    if status in (204, 304) or method == "HEAD":
        return
    found = next((c for t, c in content.items() if t.split(";")[0] == content_type.split(";")[0]), None)
    assert found is not None, f"{method} {target}: {status} with {content_type} is not described"
    if content_type.startswith("application/json"):
        error = jsonschema.exceptions.best_match(validator(json.dumps(found["schema"])).iter_errors(json.loads(body)))
        assert error is None, f"{method} {target}: {error.message} at {error.json_path}"


def check_answer(method, target, status, headers, body):
    """The same of whatever a test asked. What is not described is refused; a redirection comes before all else."""
    if status == 308:
        return
    if operation(method, target):
        check(method, target, status, headers.get("Content-Type", ""), body)
    else:
        assert status in (401, 404, 405, 429, *REFUSED), f"{method} {target}: {status}, and it is not described"
