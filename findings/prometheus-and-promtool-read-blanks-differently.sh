#!/bin/sh
# Prometheus 2.42.0 (Debian 12: prometheus 2.42.0+ds-5). Its page "Exposition formats" says of a line of the
# text format that leading and trailing whitespace is ignored. We expected the server that collects such
# lines, and the checker promtool that comes with it, to do that. Each has a parser of its own. The server
# takes blanks in front of a line for a part of the metric's name, and drops the whole page; promtool reads
# the line. promtool refuses a blank behind a value, where it wants a time, and the server reads that.
# Neither knows the type in "# TYPE a gauge" with a blank behind it. So a page that promtool accepts may
# give no metrics at all. Whoever writes such pages should have no blank at either end of a line.
#
# promtool checks five pages, and the server collects each of them once. The script prints what both say.
set -eu
WANTED='2.42.0+ds-5*'

dir=$(mktemp -d)
server= prometheus=
trap 'kill $server $prometheus 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download "prometheus=$WANTED" > apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg-deb -x prometheus_*.deb root

mkdir pages
printf 'a 1\n' > pages/0
printf ' a 1\n' > pages/1
printf 'a 1 \n' > pages/2
printf '# TYPE a gauge\na 1\n' > pages/3
printf '# TYPE a gauge \na 1\n' > pages/4

cat > serve.py << 'EOF'
import http.server

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = open("pages/" + self.path[1:], "rb").read()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *text):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
print(server.server_port, flush=True)
server.serve_forever()
EOF
python3 serve.py > port &
server=$!
until [ -s port ]; do
    kill -0 $server || exit 1
    sleep 0.1
done
{
    printf 'global: { scrape_interval: 2s, scrape_timeout: 2s }\nscrape_configs:\n'
    for page in 0 1 2 3 4; do
        echo "  - { job_name: '$page', metrics_path: '/$page', static_configs: [{ targets: ['127.0.0.1:$(cat port)'] }] }"
    done
} > prometheus.yml
root/usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:0 2> log &
prometheus=$!

# Waits until each page has been collected, or until it has not been although there was no time-out.
cat > ask.py << 'EOF'
import json, os, re, subprocess, time, urllib.request

while not (address := re.search(r'msg="Listening on" address=(\S+)', open("log").read())):
    os.kill(int(os.environ["PROMETHEUS"]), 0)
    time.sleep(0.1)
said = {}
while len(said) < 5:
    answer = json.load(urllib.request.urlopen(f"http://{address[1]}/api/v1/targets"))
    for target in answer["data"]["activeTargets"]:
        if target["health"] == "up":
            said[target["scrapePool"]] = "yes"
        elif "invalid metric" in target["lastError"]:
            said[target["scrapePool"]] = target["lastError"].split(":")[0]
    time.sleep(0.1)
for page in sorted(said):
    text = open("pages/" + page).read()
    check = subprocess.run(["root/usr/bin/promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    wrong = re.search("error while linting: .*: (.*)", check.stderr)
    print(f"{text!r}: promtool {wrong[1] if wrong else 'yes'}, server {said[page]}")
EOF
echo "Prometheus, package $(basename prometheus_*.deb)"
PROMETHEUS=$prometheus timeout 300 python3 ask.py | tee lines
cat > wanted << 'EOF'
'a 1\n': promtool yes, server yes
' a 1\n': promtool yes, server invalid metric name or label names
'a 1 \n': promtool expected integer as timestamp, got "", server yes
'# TYPE a gauge\na 1\n': promtool yes, server yes
'# TYPE a gauge \na 1\n': promtool unknown metric type "gauge ", server invalid metric type "gauge "
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
