#!/bin/sh
# BusyBox 1.35.0's httpd (Debian 12: busybox 1:1.35.0-4; 1.37.0 of Debian 13 does the same). It answers HEAD
# with the whole file behind the header, where RFC 9110 (9.3.2) has no content. And it answers "Range:
# bytes=0-0", the first byte, with the whole file as a part of itself: "206 Partial Content", "Content-Range:
# bytes 0-9/10". An end of 0 is as no end to it; 0-1 and 1-1 are right. RFC 9110 (14.1.2) counts from 0, and
# has the last position belong to the range. We expected no content, and one byte. Clients ask for 0-0 to
# learn a file's length, and get a large image instead; a client that writes what comes to where the range
# was to go, without a look at Content-Range, writes past it. They should ask for 0-1, and close the
# connection behind the header of an answer to HEAD.
#
# The script asks for a file of 10 bytes by HEAD, GET and four ranges. It prints the status, the range and
# the content.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download 'busybox=1:1.35.0-4*' > apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg-deb -x busybox_*.deb root
mkdir files
printf 0123456789 > files/ten

# httpd takes a connected socket as its standard input with -i, as inetd passes it.
cat > ask.py << 'EOF'
import socket, subprocess

def ask(what, method, field=""):
    own, other = socket.socketpair()
    own.sendall(f"{method} /ten HTTP/1.1\r\nHost: a\r\n{field}\r\n".encode())
    httpd = subprocess.Popen(["root/bin/busybox", "httpd", "-i", "-h", "files"], stdin=other, stdout=other)
    other.close()
    answer = b""
    while data := own.recv(4096):
        answer += data
    httpd.wait()
    header, _, content = answer.decode().partition("\r\n\r\n")
    lines = header.split("\r\n")
    part = [line for line in lines if line.startswith("Content-Range")]
    print(f"{what}: {lines[0][9:]}, {part[0] if part else 'no range'}, content '{content}'")

ask("HEAD", "HEAD")
ask("GET", "GET")
for bounds in "0-0", "0-1", "1-1", "9-9":
    ask("GET " + bounds, "GET", f"Range: bytes={bounds}\r\n")
EOF
echo "BusyBox, package $(basename busybox_*.deb)"
python3 ask.py | tee lines
cat > wanted << 'EOF'
HEAD: 200 OK, no range, content '0123456789'
GET: 200 OK, no range, content '0123456789'
GET 0-0: 206 Partial Content, Content-Range: bytes 0-9/10, content '0123456789'
GET 0-1: 206 Partial Content, Content-Range: bytes 0-1/10, content '01'
GET 1-1: 206 Partial Content, Content-Range: bytes 1-1/10, content '1'
GET 9-9: 206 Partial Content, Content-Range: bytes 9-9/10, content '9'
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
