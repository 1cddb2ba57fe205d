#!/bin/sh
# curl 7.88.1 (Debian 12: curl 7.88.1-10; 8.14.1 of Debian 13 does the same). "tftp://host/file;mode=netascii"
# (RFC 3617) makes curl ask for the mode netascii, and the server then sends lines that end in CR LF, and
# CR NUL for a CR alone. RFC 1350 (1, and Telnet's rules that it refers to) has the host that receives them
# translate them to its own format, and one that sends translate the other way. We expected the file as
# the server has it, which the client of tftp-hpa writes (Debian 12: tftp-hpa 5.2+20150808-1.4). curl
# writes the bytes as they came, CR and NUL included, and sends a file's LF as it is in that mode. A
# configuration that a device stores by TFTP, and its owner fetches with curl, is not what it was. Mode
# octet, which curl takes unless told otherwise, is right where the server has it.
#
# A server sends and receives one block. The script prints the bytes that each client wrote into its file,
# and those that each sent of a file with LF and CR.
set -eu

dir=$(mktemp -d)
server=
trap 'kill $server 2> /dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o APT::Sandbox::User=root -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install 'curl=7.88.1-10*' 'tftp-hpa=5.2+20150808-1.4*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    timeout 100 "$loader" --library-path "$libraries" "$@"
}

cat > server.py << 'EOF'
import socket

ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ask.bind(("127.0.0.1", 0))
print(ask.getsockname()[1], flush=True)
request, client = ask.recvfrom(2000)
assert request.split(b"\0")[2] == b"netascii"
data = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
data.bind(("127.0.0.1", 0))
if request[1] == 1:
    data.sendto(b"\0\3\0\1one\r\ntwo\r\0three\r\n", client)
    assert data.recv(2000) == b"\0\4\0\1"
else:
    data.sendto(b"\0\4\0\0", client)
    block = data.recv(2000)
    assert block[:4] == b"\0\3\0\1"
    open("sent", "wb").write(block[4:])
    data.sendto(b"\0\4\0\1", client)
EOF
serve() {
    : > port
    python3 server.py > port &
    server=$!
    until [ -s port ]; do
        kill -0 $server || exit 1
        sleep 0.1
    done
    port=$(cat port)
}
show() {
    python3 -c 'import sys; print(sys.argv[1], open(sys.argv[2], "rb").read())' "$@"
}

printf 'one\ntwo\rthree\n' > own
echo "curl, package $(basename archives/curl_*.deb); tftp-hpa, package $(basename archives/tftp-hpa_*.deb)"
{
    serve
    run root/usr/bin/curl -sS -o by-curl "tftp://127.0.0.1:$port/file;mode=netascii"
    wait $server
    show "curl wrote" by-curl
    serve
    run root/usr/bin/tftp -m netascii 127.0.0.1 "$port" -c get file by-tftp
    wait $server
    show "tftp wrote" by-tftp
    serve
    run root/usr/bin/curl -sS -T own "tftp://127.0.0.1:$port/file;mode=netascii"
    wait $server
    show "curl sent" sent
    serve
    run root/usr/bin/tftp -m netascii 127.0.0.1 "$port" -c put own file
    wait $server
    show "tftp sent" sent
} > lines
cat lines
cat > wanted << 'EOF'
curl wrote b'one\r\ntwo\r\x00three\r\n'
tftp wrote b'one\ntwo\rthree\n'
curl sent b'one\ntwo\rthree\n'
tftp sent b'one\r\ntwo\r\x00three\r\n'
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
