#!/bin/sh
# wslay 1.1.1 (Debian 12: libwslay1 1.1.1-3). It knows the close codes of RFC 6455, 1000 to 1011, and the
# application's, 3000 to 4999. A peer that closes with 1012 (service restart), 1013 (try again later)
# or 1014 (bad gateway), which IANA has registered since, is answered with 1002, a protocol error. The
# callback for messages never sees the close frame, and wslay_event_get_status_code_received() gives
# 1006, as if the connection had broken. We expected registered codes to be passed on like 1001. A
# client that should come back later when a server restarts cannot tell that from a server that speaks
# nonsense. It has to take 1006 with 1002 sent for "try again".
#
# Python's websockets 10.4 (python3-websockets 10.4-1), a server that restarts, makes the close frames.
# A wslay client reads them, and websockets reads the answers.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download 'libwslay-dev=1.1.1-3*' 'libwslay1=1.1.1-3*' 'python3-websockets=10.4-1*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat > client.c << 'EOF'
#include <stdio.h>

#include <wslay/wslay.h>

static ssize_t receive(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *user)
{
    size_t n = fread(buf, 1, len, stdin);

    if (n == 0)
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
    return n ? (ssize_t)n : -1;
}

static ssize_t transmit(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *user)
{
    return (ssize_t)fwrite(data, 1, len, stdout);
}

static int mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *user)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)i;
    return 0;
}

static void message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
    *(int *)user = arg->status_code;
}

int main(void)
{
    const struct wslay_event_callbacks callbacks = { receive, transmit, mask, NULL, NULL, NULL, message };
    wslay_event_context_ptr ctx;
    int seen = 0;

    if (wslay_event_context_client_init(&ctx, &callbacks, &seen) || wslay_event_recv(ctx) || wslay_event_send(ctx))
        return 1;
    fprintf(stderr, "%d %d", seen, wslay_event_get_status_code_received(ctx));
    return 0;
}
EOF
libraries=root/usr/lib/x86_64-linux-gnu
cc -w -Iroot/usr/include -o client client.c "$libraries/libwslay.so.1"
cat > server.py << 'EOF'
import subprocess

from websockets.frames import Close, Frame, OP_CLOSE

for code in 1000, 1001, 1011, 1012, 1013, 1014, 3000, 4999:
    frame = Frame(OP_CLOSE, Close(code, "see you").serialize()).serialize(mask=False)
    client = subprocess.run(["./client"], input=frame, capture_output=True, check=True)
    head, key, data = client.stdout[:2], client.stdout[2:6], client.stdout[6:]
    assert head == bytes([0x88, 0x80 + len(data)])
    answer = Close.parse(bytes(b ^ key[i % 4] for i, b in enumerate(data)))
    seen, received = client.stderr.decode().split()
    print(f"close {code}: callback {seen}, received {received}, answer {answer.code}")
EOF
echo "wslay, package $(basename libwslay1_*.deb); websockets, package $(basename python3-websockets_*.deb)"
LD_LIBRARY_PATH=$libraries PYTHONPATH=root/usr/lib/python3/dist-packages python3 server.py | tee out.txt
for code in 1000 1001 1011 1012 1013 1014 3000 4999; do
    case $code in
    101[234]) echo "close $code: callback 0, received 1006, answer 1002" ;;
    *) echo "close $code: callback $code, received $code, answer $code" ;;
    esac
done > wanted.txt
cmp -s out.txt wanted.txt || { echo "this has changed"; exit 1; }
