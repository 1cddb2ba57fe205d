"""bhctl's contexts: the file and who may read it, which appliance, token and certificate count, several appliances in one table, and targets for Prometheus."""
import json
import os
import re
import stat
import subprocess

import pytest

from bhctl import Other, bare
from test_bhctl_top import Looked

PIN = ":".join(["AB"] * 32)


@pytest.fixture
def config(tmp_path):
    """bhctl with a folder for configurations of its own, and without an appliance in the environment."""
    def call(*args, **more):
        return bare(*args, **{"url": "", "token": "of-the-environment", "XDG_CONFIG_HOME": str(tmp_path / "config"), **more})

    call.file = tmp_path / "config" / "bulkhead" / "contexts.json"
    return call


def done(answer):
    assert answer[0] == 0 and answer[2] == "", answer
    return answer[1]


def test_the_list(config, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    status, out, err = config("contexts")
    assert status == 0 and out.splitlines() == ["  NAME             URL                                      TRUST        TOKEN"] and "bhctl contexts add NAME" in err
    done(config("contexts", "add", "lab", "--url", "https://10.0.0.5/", "--token-file", token, "--fingerprint", PIN))
    done(config("contexts", "add", "plant", "--url", "http://[::1]:8080", "--token", "typed"))
    assert stat.S_IMODE(config.file.stat().st_mode) == 0o600 and stat.S_IMODE(config.file.parent.stat().st_mode) == 0o700
    rows = done(config("contexts", "list")).splitlines()
    assert rows[1].split() == ["*", "lab", "https://10.0.0.5/", "fingerprint", str(token)] and rows[2].split() == ["plant", "http://[::1]:8080", "-", "kept", "here"]
    done(config("contexts", "use", "plant"))
    shown = json.loads(done(config("contexts", "--json")))["contexts"]
    assert [(c["name"], c["current"]) for c in shown] == [("lab", False), ("plant", True)] and "typed" not in json.dumps(shown)
    done(config("contexts", "remove", "plant"))
    assert json.loads(config.file.read_text()) == {"contexts": [{"name": "lab", "url": "https://10.0.0.5/", "token_file": str(token), "fingerprint": PIN}]}
    # Without XDG_CONFIG_HOME it is in ~/.config; a relative one counts as none.
    (tmp_path / "home").mkdir()
    done(config("contexts", "add", "home", "--url", "http://a", HOME=str(tmp_path / "home"), XDG_CONFIG_HOME="relative"))
    assert (tmp_path / "home" / ".config" / "bulkhead" / "contexts.json").exists()


@pytest.mark.parametrize("args, message", [
    (("contexts", "frob"), "list, add, use or remove"), (("contexts", "use"), "use needs NAME"), (("contexts", "list", "x"), "takes no name"), (("contexts", "use", "x"), 'no context "x"'),
    (("contexts", "add", "x"), "needs --url"), (("contexts", "add", "a b", "--url", "http://a"), "name must"), (("contexts", "add", "x", "--url", "a"), "must begin with http"),
    (("contexts", "add", "x", "--url", "http://a", "--fingerprint", "12"), "32 bytes"), (("contexts", "add", "x", "--url", "http://a", "--token-file", "/nonexistent/t"), "cannot be read"),
    (("guests", "--host", "a", "--url", "http://a"), "exclude"), (("top", "--all"), "there are no contexts"), (("top", "--all", "--host", "a"), "exclude"),
    (("top", "--host", ",".join("abcdefghijklmnopq")), "at most 16")])
def test_wrong_usage(config, args, message):
    status, out, err = config(*args)
    assert (status, out) == (2, "") and message in err and not config.file.exists()


@pytest.mark.parametrize("content, mode, message", [
    ("{", 0o600, "contexts.json:1: "), ("[]", 0o600, "must be an object"), ('{"contexts": [{"name": "a"}]}', 0o600, 'context 1, "a": it must begin with http'),
    ('{"contexts": [{"name": "a", "url": "http://a", "token": "t", "token_file": "f"}]}', 0o600, "a token and a token_file"),
    ('{"contexts": []}', 0o640, "others may read or write it"), ('{"contexts": []}', 0o602, "others may read or write it")])
def test_wrong_files(config, content, mode, message):
    config.file.parent.mkdir(parents=True)
    config.file.write_text(content)
    config.file.chmod(mode)
    status, out, err = config("guests")
    assert (status, out) == (2, "") and message in err
    with Other() as s:
        assert config("host", "--json", url=s.url)[0] == 0  # they do not count then
    assert config.file.read_text() == content


def test_who_is_asked(config, tmp_path):
    """The context brings its own token: the environment's belongs to the environment's appliance. The command line overrides both."""
    token = tmp_path / "token"
    token.write_text("from-the-file\n")
    token.chmod(0o600)
    with Other() as lab, Other() as plant:
        done(config("contexts", "add", "lab", "--url", lab.url, "--token-file", token))
        done(config("contexts", "add", "plant", "--url", plant.url))
        for args, more in ((("host",), {}), (("--host", "plant", "host"), {}), (("--host", "lab", "host"), {"url": plant.url}), (("host",), {"url": plant.url}), (("--host", "lab", "--token", "typed", "host"), {}),
                           (("--host", plant.url, "host"), {}), (("--url", plant.url, "host"), {})):
            done(config(*args, "--json", **more))
    sent = [[h.get("Authorization", "").removeprefix("Bearer ") for _, _, h, _ in s.asked] for s in (lab, plant)]
    assert sent == [["from-the-file", "from-the-file", "typed"], ["", "of-the-environment", "of-the-environment", "of-the-environment"]]
    token.chmod(0o644)
    assert "others may read" in config("--host", "lab", "host")[2]
    status, _, err = config("--host", "127.0.0.1:1", "host")
    assert status == 3 and "https://127.0.0.1:1 cannot be reached" in err
    assert "https://[::1] cannot be reached" in config("--host", "::1", "host")[2]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("certificate") / "bulkhead"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{path}.key", "-out", f"{path}.pem", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-days", "3650"], check=True, capture_output=True)
    shown = subprocess.run(["openssl", "x509", "-in", f"{path}.pem", "-noout", "-fingerprint", "-sha256"], check=True, capture_output=True, text=True).stdout
    return path, shown.strip().split("=")[1]


def test_the_certificate(config, certificate):
    path, fingerprint = certificate
    with Other(certificate=path) as s:
        for name, trust in (("pinned", ("--fingerprint", fingerprint)), ("signed", ("--cacert", path.with_suffix(".pem"))), ("wrong", ("--fingerprint", PIN)), ("none", ())):
            done(config("contexts", "add", name, "--url", s.url, "--token", "t", *trust))
        assert [config("--host", name, "host", "--json")[0] for name in ("pinned", "signed", "wrong", "none")] == [0, 0, 3, 3] and len(s.asked) == 2
        # The variable is for another appliance; an option counts.
        assert config("--host", "pinned", "host", "--json", BULKHEAD_FINGERPRINT=PIN)[0] == 0
        assert config("--host", "wrong", "host", "--json", "-k")[0] == 0 and config("--host", "pinned", "host", "--fingerprint", PIN)[0] == 3


def test_several_in_one_table(config):
    with Looked() as a, Looked() as b:
        for name, url in (("one", a.url), ("two", b.url), ("lost", "http://127.0.0.1:9")):
            done(config("contexts", "add", name, "--url", url))
        table = done(config("top", "--all", "-n1", "-d1")).splitlines()
        assert re.fullmatch(r"one +up 2 s, 32 MiB of 64 MiB free, 1 cores 50.0 % busy", table[0]) and re.fullmatch("lost +no answer", table[2]) and table[3] == "by cpu"
        assert [row.split()[:2] for row in table[4:]] == [["HOST", "GUEST"], ["one", "busy"], ["two", "busy"], ["one", "large"], ["two", "large"]]
        rows = json.loads(done(config("top", "--host", "one,two", "-d1", "--json", "--sort", "name")))
        assert [(r["host"], r["name"]) for r in rows] == [("one", "busy"), ("two", "busy"), ("one", "large"), ("two", "large")]
        assert "HOST" not in done(config("top", "--host", "two", "-n1", "-d1"))
        a.down = lambda handler: handler.say(401, b"{}") or True
        assert config("top", "--all", "-n1", "-d1")[0] == 4


def test_prometheus(config, tmp_path, certificate):
    """A real Prometheus takes the file and the manual's job."""
    for name, url in (("lab", "https://10.0.0.5"), ("plant", "http://[fe80::1]"), ("far", "https://bulkhead.local:8443/")):
        done(config("contexts", "add", name, "--url", url))
    groups = [{"targets": [t], "labels": {"context": c, "__scheme__": s}} for t, c, s in (("10.0.0.5:443", "lab", "https"), ("[fe80::1]:80", "plant", "http"), ("bulkhead.local:8443", "far", "https"))]
    assert json.loads(done(config("contexts", "--prometheus", "-"))) == groups
    done(config("contexts", "--prometheus", tmp_path / "bulkhead.json"))
    assert json.loads((tmp_path / "bulkhead.json").read_text()) == groups
    with open("mgmt/MANUAL.md", encoding="utf-8") as f:
        job = re.search(r"```yaml\n(scrape_configs:.*?)```", f.read(), re.S)[1]
    (tmp_path / "prometheus.yml").write_text(job)
    (tmp_path / "bulkhead.token").write_text("t")
    os.symlink(certificate[0].with_suffix(".pem"), tmp_path / "bulkhead.pem")
    r = subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False)
    assert "bulkhead.json" in job and r.returncode == 0, r.stdout + r.stderr
