#!/usr/bin/env python3
"""make clients: other people's clients and checkers, tried with the API and its description. What is not installed, or too old, is said and left out."""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "boot"), os.path.join(HERE, "..", "tools"), HERE]

from appliance import Appliance  # noqa: E402
import requests_of  # noqa: E402

DESCRIPTION = "mgmt/openapi.json"
GUESTS = [{"name": "hog", "image": "guests/hog.elf", "memory": "2M"}, {"name": "echo", "image": "guests/echo.elf", "memory": "4M"}]
NODE_NEEDED = {"axios": (18, 0), "generated": (18, 0), "redocly": (20, 19), "spectral": (18, 18)}


class Skip(Exception):
    pass


def run(command, **kw):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **kw)


def tail(done):
    return (done.stdout + done.stderr)[-2000:]


class Node:
    """The npm packages of package-lock.json: each has its version and its hash there, and comes from whatever registry npm is set to."""

    def __init__(self, build):
        self.directory = os.path.join(build, "clients")

    def version(self):
        if not shutil.which("node") or not shutil.which("npm"):
            raise Skip("needs node and npm")
        return tuple(int(n) for n in run(["node", "--version"]).stdout.strip().lstrip("v").split("."))

    def need(self, what):
        if self.version() < NODE_NEEDED[what]:
            raise Skip(f"node {'.'.join(map(str, self.version()))} is too old for it: it needs {'.'.join(map(str, NODE_NEEDED[what]))}")
        os.makedirs(self.directory, exist_ok=True)
        names = ("package.json", "package-lock.json")
        if all(self.same(n) for n in names) and os.path.exists(os.path.join(self.directory, "node_modules", ".done")):
            return
        for n in names:
            shutil.copy(os.path.join(HERE, n), self.directory)
        done = run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=self.directory)
        if done.returncode:
            raise Skip(f"npm cannot get its packages:\n{tail(done)}")
        open(os.path.join(self.directory, "node_modules", ".done"), "w", encoding="utf-8").close()

    def same(self, name):
        try:
            with open(os.path.join(HERE, name), "rb") as a, open(os.path.join(self.directory, name), "rb") as b:
                return a.read() == b.read()
        except FileNotFoundError:
            return False

    def tool(self, name, *arguments):
        return run([os.path.join(self.directory, "node_modules", ".bin", name), *arguments], env={**os.environ, "REDOCLY_TELEMETRY": "off", "CI": "1"})

    def script(self, name, machine):
        done = run(["node", name, f"http://127.0.0.1:{machine.port}", machine.token], cwd=self.directory)
        assert done.returncode == 0, tail(done)


def redocly(node, _):
    node.need("redocly")
    done = node.tool("redocly", "lint", "--extends", "recommended", "--format", "json", DESCRIPTION)
    totals = json.loads(done.stdout[done.stdout.index("{"):])["totals"]
    assert totals["errors"] == 0, tail(done)
    return f"{totals['errors']} errors, {totals['warnings']} warnings"


def spectral(node, _):
    node.need("spectral")
    done = node.tool("spectral", "lint", "--ruleset", os.path.join(HERE, "spectral.json"), "--format", "json", "--quiet", DESCRIPTION)
    found = json.loads(done.stdout[done.stdout.index("["):])
    levels = [sum(f["severity"] == level for f in found) for level in (0, 1)]
    assert levels[0] == 0, sorted({f["code"] for f in found})
    return f"{levels[0]} errors, {levels[1]} warnings" + "".join(sorted({f" {f['code']}" for f in found}))


def axios(node, machine):
    node.need("axios")
    shutil.copy(os.path.join(HERE, "axios.mjs"), node.directory)
    node.script("axios.mjs", machine())


def generated(node, machine):
    """Types from openapi-typescript, a client from openapi-fetch, checked by tsc."""
    node.need("generated")
    done = node.tool("openapi-typescript", DESCRIPTION, "--default-non-nullable", "false", "-o", os.path.join(node.directory, "schema.d.ts"))
    assert done.returncode == 0, tail(done)
    for name in ("generated.mts", "tsconfig.json", "globals.d.ts"):
        shutil.copy(os.path.join(HERE, name), node.directory)
    done = node.tool("tsc", "--project", node.directory)
    assert done.returncode == 0, tail(done)
    shutil.copy(os.path.join(node.directory, "out", "generated.mjs"), node.directory)
    node.script("generated.mjs", machine())


def promtool(_, machine):
    if not shutil.which("promtool"):
        raise Skip("needs promtool (Debian: prometheus)")
    metrics = machine().request("GET", "/metrics")[2]
    done = run(["promtool", "check", "metrics"], input=metrics)
    assert done.returncode == 0 and not done.stderr.strip(), tail(done)
    return f"{len(re.findall('^# TYPE', metrics, re.M))} metrics"


def requests(_, machine):
    if not requests_of.hypothesis:
        raise Skip("needs python3-hypothesis")
    return requests_of.send(machine(), requests_of.COUNT)


CHECKS = (redocly, spectral, axios, generated, promtool, requests)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="", help="names, separated by commas: " + ", ".join(c.__name__ for c in CHECKS))
    options = parser.parse_args()
    node, machines, failed = Node(os.path.abspath(options.build)), [], 0

    with tempfile.TemporaryDirectory() as directory:
        def machine():
            if not machines:
                machines.append(Appliance(directory, {"guests": GUESTS}, cpus=2))
            return machines[0]

        try:
            for check in CHECKS:
                if options.only and check.__name__ not in options.only.split(","):
                    continue
                try:
                    print(f"{check.__name__}: ok {check(node, machine) or ''}".rstrip(), flush=True)
                except Skip as why:
                    print(f"{check.__name__}: skipped: {why}", flush=True)
                except AssertionError as why:
                    failed += 1
                    print(f"{check.__name__}: FAILED\n{why}", flush=True)
        finally:
            for m in machines:
                m.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
