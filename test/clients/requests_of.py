"""Requests made from the description, right ones and wrong ones: no answer may be outside of it."""
import http.client
import json
import os
import time
import urllib.parse

import openapi

try:
    import hypothesis.configuration
    from hypothesis import HealthCheck, given, settings, strategies as st
except ImportError:
    hypothesis = None

COUNT = int(os.environ.get("REQUESTS", "10000"))
KNOWN = {"guest": ["hog", "echo", "mgmt", "nobody"], "vcpu": ["0", "1"], "sequence": ["1", "2", "99"], "file": ["app.js", "x"], "name": ["image", "guests"]}
# They never end, or end the machine or the API.
STREAMS = {"/v1/events", "/v1/log", "/v1/guests/{guest}/console"}
LEFT_OUT = {("/v1/host/actions", "post")}


def strategies():
    def of(schema):
        """Values of a schema."""
        schema = openapi.resolve(schema)
        if "oneOf" in schema:
            return st.one_of([of(s) for s in schema["oneOf"]])
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        kind = schema.get("type")
        if kind == "integer":
            return st.integers(schema.get("minimum", -10), min(schema.get("maximum", 10**6), 10**15)).map(lambda v, m=schema.get("multipleOf", 1): v // m * m)
        if kind == "boolean":
            return st.booleans()
        if kind == "array":
            return st.lists(of(schema["items"]), max_size=3)
        if kind == "object":
            members = {k: of(v) for k, v in schema.get("properties", {}).items()}
            needed = {k: members[k] for k in schema.get("required", []) if k in members}
            return st.fixed_dictionaries(needed, optional={k: v for k, v in members.items() if k not in needed})
        if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        return st.text(max_size=20)

    anything = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=5), st.integers(), max_size=2))
    strange = st.sampled_from(["", "x", "-1", "0", "2", "99999999999999999999", "\u00e9", "%", "&=", "a\x00b", "null"])

    def path_of(path, item):
        names = [p["name"] for p in item.get("parameters", [])]
        values = st.fixed_dictionaries({n: st.one_of(st.sampled_from(KNOWN[n]), st.sampled_from(KNOWN[n]), strange) for n in names})
        return values.map(lambda v: urllib.parse.quote(path, safe="/{}").format(**{k: urllib.parse.quote(x, safe="") for k, x in v.items()}))

    def query_of(path, o):
        members = {p["name"]: st.one_of(of(p["schema"]), of(p["schema"]), strange) for p in o.get("parameters", []) if p["in"] == "query"}
        forced = {"follow": st.just(0)} if path in STREAMS and "follow" in members else {}
        members["unknown"] = strange
        return st.one_of(st.fixed_dictionaries(forced, optional={k: v for k, v in members.items() if k not in forced and k != "unknown"}),
                         st.fixed_dictionaries(forced, optional={k: v for k, v in members.items() if k not in forced}))

    def body_of(o):
        content = o.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            right = of(content["application/json"]["schema"]).map(lambda v: json.dumps(v).encode())
            return st.one_of(right, right, anything.map(lambda v: json.dumps(v, ensure_ascii=False).encode("utf-8", "surrogatepass")), st.binary(max_size=30))
        return st.binary(max_size=200) if content else st.just(None)

    operations = [(p, item, m, o) for p, item in openapi.document()["paths"].items() for m, o in item.items() if m != "parameters" and (p, m) not in LEFT_OUT]

    def request_of(operation):
        path, item, method, o = operation
        methods = st.sampled_from([method.upper()] * 12 + ["HEAD" if method == "get" else method.upper(), "OPTIONS", "PUT" if path.startswith("/v1/vmx") else "PATCH"])
        headers = st.fixed_dictionaries({}, optional={"Accept": st.sampled_from(["*/*", "text/plain", "application/json;q=0, text/*", "image/png", "q=,"]),
                                                      "If-None-Match": st.sampled_from(["*", '"a"', "x"]), "Content-Encoding": st.sampled_from(["identity", "identity", "gzip"])})
        return st.tuples(methods, path_of(path, item), query_of(path, o), headers, body_of(o))

    return st.sampled_from(operations).flatmap(request_of)


def ends_the_api(method, target, body):
    """Resetting management is right, and would only show that it restarts."""
    return method == "POST" and "/mgmt/actions" in target and b"reset" in (body or b"")


def send(machine, count):
    """Sends so many requests; returns what to say about them."""
    seen, connection = {}, [machine.http_connection()]
    hypothesis.configuration.set_hypothesis_home_dir(machine.directory)

    def ask(method, target, headers, body):
        end = time.monotonic() + 180
        while True:
            try:
                connection[0].request(method, target, body, {**machine.authorization(), **headers})
                r = connection[0].getresponse()
                return r.status, r.headers, r.read()
            except (OSError, http.client.HTTPException):
                connection[0].close()
                assert machine.process.poll() is None and time.monotonic() < end, f"no answer to {method} {target}"
                connection[0] = machine.http_connection()

    @settings(max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(strategies())
    def one(request):
        method, path, query, headers, body = request
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        if len(target) > 250 or ends_the_api(method, target, body):
            return
        status, got, answer = ask(method, target, headers, body)
        assert status < 500 or status in (501, 503), (method, target, headers, body, answer)
        openapi.check_answer(method, target, status, got, answer)
        seen[status] = seen.get(status, 0) + 1

    one()
    assert machine.guest("mgmt")["restarts"] == 0
    return f"{sum(seen.values())} requests: " + ", ".join(f"{n} of {status}" for status, n in sorted(seen.items()))
