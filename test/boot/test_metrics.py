"""Metrics: clean according to promtool, consistent with the rest of the API, and scraped by a real Prometheus."""
import json
import os
import re
import ssl
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

import machine
from appliance import LIMIT
from bhctl import bare

CONFIG = {"guests": [
    {"name": "control", "image": "guests/control.elf", "memory": "2M", "core": 0, "weight": 200},
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0},
    {"name": "net", "image": "guests/net.elf", "memory": "2M", "core": 0, "devices": ["uart", "pic", "pit", "exit", "net"]},
]}


@pytest.fixture(scope="module")
def m(start):
    return start(CONFIG, cpus=2)


def metrics(m):
    status, headers, body = m.request("GET", "/metrics")
    assert status == 200
    assert {k.lower(): v for k, v in headers.items()}["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return body, {(name, labels or ""): float(value) for name, labels, value in re.findall(r"^(\w+)(\{[^}]*\})? (\S+)$", body, re.M)}


def test_promtool(m):
    body, _ = metrics(m)
    r = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, text=True, check=False)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", ""), r.stdout + r.stderr + body[:3000]


def test_same_as_the_api(m):
    m.wait_serial(r"\[control\] control: second \d+,")
    _, before = metrics(m)
    guest, host = m.guest("control"), m.get("/v1/host")
    _, after = metrics(m)
    hz = host["cores"][0]["tsc_hz"]

    def between(key, value):
        assert before[key] - 1e-8 <= value <= after[key] + 1e-8, (key, before[key], value, after[key])

    for reason, count in guest["vcpus"][0]["exits"].items():
        between(("bulkhead_vcpu_exits_total", f'{{guest="control",vcpu="0",reason="{reason}"}}'), count)
    for mode, ticks in (("run", "run_ticks"), ("wait", "wait_ticks")):
        between(("bulkhead_vcpu_seconds_total", f'{{guest="control",vcpu="0",mode="{mode}"}}'), guest["vcpus"][0][ticks] / hz)
    for core in host["cores"]:
        between(("bulkhead_core_seconds_total", f'{{core="{core["id"]}",mode="guests"}}'), core["busy_ticks"] / hz)
        between(("bulkhead_slice_end_lateness_seconds_count", f'{{core="{core["id"]}"}}'), core["slice_ends"])
        between(("bulkhead_slice_end_lateness_max_seconds", f'{{core="{core["id"]}"}}'), core["slice_late_max_ticks"] / hz)
    for owner in ("free", "host", "guests", "tables"):
        assert after[("bulkhead_memory_bytes", f'{{owner="{owner}"}}')] == host["memory"][owner]
    assert after[("bulkhead_guest_state", '{guest="control",state="running"}')] == 1
    assert after[("bulkhead_http_requests_total", '{code="200"}')] - before[("bulkhead_http_requests_total", '{code="200"}')] == 3
    # A 1 kHz loop that sleeps is woken by its timer in each period, and on time.
    wakes = after[("bulkhead_vcpu_timer_wake_lateness_seconds_count", '{guest="control",vcpu="0"}')]
    assert wakes > 500
    buckets = [(float(le), n) for (name, labels), n in after.items() if name.endswith("wake_lateness_seconds_bucket")
               for le in re.findall(r'guest="control".*le="([0-9.]+)"', labels)]
    assert len(buckets) == 13 and min(n for le, n in buckets if le > 0.0004) > wakes * 0.9, buckets
    assert sum(after[("bulkhead_guest_network_frames_total", f'{{guest="mgmt",what="{what}"}}')] for what in ("received", "sent")) > 10


# For each alert: series that make it fire, and others that must not, by promtool's notation; the labels of the one that fires.
INSTANCE = 'instance="a",job="bulkhead"'
ALERTS = {
    "BulkheadUnreachable": ({f"up{{{INSTANCE}}}": "1 0x20", 'up{instance="b",job="other"}': "0x20"}, {"instance": "a", "job": "bulkhead"}),
    "BulkheadRebooted": ({f"bulkhead_uptime_seconds{{{INSTANCE}}}": "900+60x10 30+60x3", 'bulkhead_uptime_seconds{instance="b"}': "0+60x20"}, {"instance": "a", "job": "bulkhead"}),
    "BulkheadManagementRestarted": ({'bulkhead_guest_restarts_total{guest="mgmt",instance="a"}': "0x10 1x4", 'bulkhead_guest_restarts_total{guest="mgmt",instance="b"}': "3x20"},
                                    {"guest": "mgmt", "instance": "a"}),
    "BulkheadGuestEnded": ({'bulkhead_guest_state{guest="g",state="crashed"}': "0x5 1x9", 'bulkhead_guest_state{guest="h",state="crashed"}': "0x20", 'bulkhead_guest_state{guest="i",state="stopped"}': "1x20"},
                           {"guest": "g", "state": "crashed"}),
    "BulkheadGuestRestarts": ({'bulkhead_guest_restarts_total{guest="g"}': "0+1x14", 'bulkhead_guest_restarts_total{guest="h"}': "0x10 1x4"}, {"guest": "g"}),
    "BulkheadGuestStuck": ({'bulkhead_guest_stuck{guest="g"}': "0x5 1x9", 'bulkhead_guest_stuck{guest="h"}': "0x20"}, {"guest": "g"}),
    "BulkheadGuestStarved": ({'bulkhead_vcpu_seconds_total{guest="g",vcpu="0",mode="wait"}': "0+40x20", 'bulkhead_vcpu_seconds_total{guest="g",vcpu="0",mode="run"}': "0+50x20",
                              'bulkhead_vcpu_seconds_total{guest="h",vcpu="0",mode="wait"}': "0+10x20"}, {"guest": "g", "vcpu": "0", "mode": "wait"}),
    "BulkheadTimersLate": ({f'bulkhead_vcpu_timer_wake_lateness_seconds_bucket{{guest="{g}",instance="a",le="{le}"}}': f"0+{n}x20" for g, le, n in (
        ("g", 0.0008, 900), ("g", 0.1, 1000), ("g", "+Inf", 1000), ("h", 0.0008, 1000), ("h", 0.1, 1000), ("h", "+Inf", 1000))}, {"guest": "g", "instance": "a"}),
    "BulkheadMemoryShort": ({f'bulkhead_memory_bytes{{instance="{i}",owner="{owner}"}}': f"{n}x20" for i, owner, n in (("a", "free", 4), ("a", "guests", 96), ("b", "free", 50), ("b", "guests", 50))},
                            {"instance": "a"}),
    "BulkheadLinkDown": ({'bulkhead_nic_link_up{card="0000:00:02.0"}': "1x5 0x9", 'bulkhead_nic_link_up{card="0000:00:03.0"}': "1x20"}, {"card": "0000:00:02.0"}),
    "BulkheadWrongTokens": ({'bulkhead_http_requests_total{code="401",instance="a"}': "0+2x20", 'bulkhead_http_requests_total{code="429",instance="a"}': "0+2x20",
                             'bulkhead_http_requests_total{code="401",instance="b"}': "0+1x20", 'bulkhead_http_requests_total{code="200",instance="b"}': "0+90x20"}, {"instance": "a"}),
    "BulkheadCertificateEnds": ({'bulkhead_tls_certificate_not_after_timestamp_seconds{instance="a"}': "864000x20", 'bulkhead_tls_certificate_not_after_timestamp_seconds{instance="b"}': "8640000x20"},
                                {"instance": "a"}),
}


@pytest.mark.parametrize("alert", ALERTS)
def test_alerts(alert, tmp_path):
    """promtool evaluates the rules: each fires for what it is about, and for nothing else."""
    with open("mgmt/alerts.yml", encoding="utf-8") as f:
        rules = f.read()
    with open("mgmt/api_metrics.c", encoding="utf-8") as f:
        source = f.read()
    assert set(re.findall(r"alert: (\w+)", rules)) == set(ALERTS)
    for name in re.findall(r"\bbulkhead_(\w+?)(?:_bucket)?[\[{ ]", re.sub(r"annotations:.*", "", rules)):
        assert f'"{name}"' in source, name
    series, labels = ALERTS[alert]
    test = {"rule_files": [os.path.abspath("mgmt/alerts.yml")], "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": [{"series": s, "values": v} for s, v in series.items()],
                       "promql_expr_test": [{"expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}', "eval_time": "14m", "exp_samples": [
                           {"labels": f'ALERTS{{alertname="{alert}",alertstate="firing",' + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}", "value": 1}]}]}]}
    (tmp_path / "test.yml").write_text(json.dumps(test))
    r = subprocess.run(["promtool", "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stdout + r.stderr


class Prometheus:
    """A real one, with a configuration of ours."""

    def __init__(self, directory, configuration):
        self.port, self.log = machine.free_port(), directory / "log"
        (directory / "prometheus.yml").write_text(configuration, encoding="utf-8")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
                                             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, "GOMAXPROCS": "1"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def query(self, text):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?query={text}", timeout=10) as r:
                return json.load(r)["data"]["result"]
        except OSError:
            return []

    def wait(self, text, enough):
        end = time.monotonic() + LIMIT
        while True:
            result = self.query(text)
            if enough(result):
                return result
            assert self.process.poll() is None and time.monotonic() < end, (text, result, self.log.read_text()[-2000:])
            time.sleep(0.2)


def test_counters_do_not_go_back(m):
    """A guest that starts again goes on counting: only one that is deleted and made again begins at 0."""
    def counters():
        return {k: v for k, v in metrics(m)[1].items() if k[0].endswith(("_total", "_count", "_sum", "_bucket")) and 'guest="hog"' in k[1]}

    m.wait_for("/v1/guests/hog", lambda g: g["state"] == "running" and g["vcpus"][0]["entries"] > 100, "it does not run")
    before, started = counters(), m.guest("hog")["started_tsc"]
    assert m.request("POST", "/v1/guests/hog/actions", '{"action": "reset"}')[0] == 202
    m.wait_for("/v1/guests/hog", lambda g: g["state"] == "running" and g["started_tsc"] > started, "it does not start again")
    after = counters()
    assert len(before) > 20 and not [(k, v, after.get(k)) for k, v in before.items() if not after.get(k, -1) >= v]


def test_scraped_as_in_the_manual(start, tmp_path):
    """The default: HTTPS with a random token and the appliance's own certificate. An answer may take as long as the interval: a handshake takes seconds on a slow computer. Behind a port forward the certificate's name must be given; bhctl writes the targets."""
    with open("mgmt/MANUAL.md", encoding="utf-8") as f:
        configuration = re.search(r"```yaml\n(.*?)```", f.read(), re.S)[1]
    default = start('{"guests": []}', cpus=1)
    (tmp_path / "bulkhead.pem").write_text(ssl.get_server_certificate(("127.0.0.1", default.https_port), timeout=LIMIT))
    (tmp_path / "bulkhead.token").write_text(default.token)
    for command in (("add", "default", "--url", f"https://127.0.0.1:{default.https_port}"), ("--prometheus", tmp_path / "bulkhead.json")):
        assert bare("contexts", *command, XDG_CONFIG_HOME=str(tmp_path))[0] == 0
    assert configuration.count("{ca_file: bulkhead.pem}") == 1
    configuration = configuration.replace("{ca_file: bulkhead.pem}", "{ca_file: bulkhead.pem, server_name: bulkhead.local}")
    with Prometheus(tmp_path, "global: {scrape_interval: 15s}\n" + configuration) as p:
        assert p.wait("up", lambda r: r and r[0]["value"][1] == "1")[0]["metric"]["job"] == "bulkhead"
        p.wait("bulkhead_guest_memory_bytes", lambda r: [s["metric"]["guest"] for s in r] == ["mgmt"])
    default.stop()


def test_scraped(m, tmp_path):
    """A Prometheus that knows only the address finds the metrics."""
    with Prometheus(tmp_path, f"""
global: {{scrape_interval: 3s}}
scrape_configs:
  - job_name: bulkhead
    authorization: {{credentials: {m.token}}}
    static_configs: [{{targets: ["127.0.0.1:{m.port}"]}}]
""") as p:
        p.wait("up", lambda r: r and r[0]["value"][1] == "1")
        found = p.wait("bulkhead_guest_memory_bytes", lambda r: len(r) == 4)
        assert {r["metric"]["guest"] for r in found} == {"mgmt", "control", "hog", "net"}
        rate = p.wait("increase(bulkhead_vcpu_exits_total{guest=%22control%22,reason=%22HLT%22}[1m])", lambda r: r and float(r[0]["value"][1]) > 0)
        assert len(rate) == 1
        quantile = p.wait("histogram_quantile(0.5,sum(rate(bulkhead_vcpu_timer_wake_lateness_seconds_bucket{guest=%22control%22}[1m]))by(le))",
                        lambda r: r and r[0]["value"][1] != "NaN")
        assert 0 < float(quantile[0]["value"][1]) < 0.001
        # Each panel of the Grafana dashboard shows data.
        with open("mgmt/grafana.json", encoding="utf-8") as f:
            panels = json.load(f)["panels"]
        for target in (t for panel in panels for t in panel["targets"]):
            expression = target["expr"].replace("$instance", ".*").replace("$guest", ".*").replace("$__rate_interval", "1m")
            assert "$" not in expression
            found = p.wait(urllib.parse.quote(expression), len)
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert all(labels <= set(r["metric"]) for r in found), (expression, found)
