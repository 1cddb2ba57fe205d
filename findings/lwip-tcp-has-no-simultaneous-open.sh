#!/bin/sh
# lwIP 2.2.1 (Debian 13's source package 2.2.1+dfsg1-1+deb13u1). Its TCP has no simultaneous open. When
# both ends connect to each other at the same time, each is in SYN-SENT, ignores the other's SYN, repeats
# its own, and gives up with ERR_ABRT. RFC 9293 (3.5) has such an end answer with SYN and ACK and go to
# SYN-RECEIVED, and says that an implementation must support that (MUST-10). So we expected a connection,
# as Linux makes it. Two devices that each connect to the other from a fixed port, as peers behind
# address translators do, never meet if their SYNs cross. One of them has to listen.
#
# In one stack the program lets two connections with fixed ports connect to each other, and one to itself.
# It prints what the application is told, and the states (2: SYN-SENT, 4: ESTABLISHED). The script then
# has one of Linux's sockets connect to itself, which is a simultaneous open too.
set -eu
WANTED=2.2.1+dfsg1-1+deb13u1

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
. "$here/../test/tools/apt.sh"
private_apt "$dir/apt" deb-src:trixie
{ apt_private apt-get update && apt_private apt-get source --download-only "lwip=$WANTED"; } > apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg-source --no-check -x lwip_*.dsc lwip > unpack.log 2>&1

mkdir -p include/arch
cat > include/lwipopts.h << 'EOF'
#define NO_SYS                  1
#define SYS_LIGHTWEIGHT_PROT    0
#define LWIP_SOCKET             0
#define LWIP_NETCONN            0
#define LWIP_ARP                0
#define LWIP_HAVE_LOOPIF        1
#define LWIP_NETIF_LOOPBACK     1
#define MEM_ALIGNMENT           8
#define MEM_SIZE                65536
EOF
cat > include/arch/cc.h << 'EOF'
#include <stdlib.h>
#define LWIP_RAND()             ((unsigned)rand())
EOF
cat > main.c << 'EOF'
#include <stdio.h>

#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"

static const ip_addr_t own = IPADDR4_INIT_BYTES(127, 0, 0, 1);
static u32_t now;
static int told;

u32_t sys_now(void)
{
    return now;
}

static err_t connected(void *name, struct tcp_pcb *pcb, err_t e)
{
    printf("%s: connected\n", (const char *)name);
    told++;
    return ERR_OK;
}

static void failed(void *name, err_t e)
{
    printf("%s: %s\n", (const char *)name, e == ERR_ABRT ? "ERR_ABRT" : "another error");
    told++;
}

static struct tcp_pcb *start(const char *name, u16_t from, u16_t to)
{
    struct tcp_pcb *pcb = tcp_new();

    tcp_arg(pcb, (void *)name);
    tcp_err(pcb, failed);
    tcp_bind(pcb, &own, from);
    tcp_connect(pcb, &own, to, connected);
    return pcb;
}

static void run_until(int wanted, u32_t time)
{
    for (; told < wanted && now < time; now += 50) {
        netif_poll_all();
        sys_check_timeouts();
    }
}

static err_t taken(void *name, struct tcp_pcb *pcb, err_t e)
{
    return ERR_OK;
}

int main(void)
{
    struct tcp_pcb *a, *b, *listener;

    lwip_init();
    listener = tcp_new();
    tcp_bind(listener, &own, 1000);
    tcp_accept(tcp_listen(listener), taken);
    a = start("to a listener", 2000, 1000);
    run_until(1, 600000);
    printf("state %d\n", a->state);

    a = start("a, to b", 3000, 4000);
    b = start("b, to a", 4000, 3000);
    run_until(3, now + 5000);
    printf("states after 5 seconds %d, %d\n", a->state, b->state);
    run_until(3, 600000);

    a = start("to itself", 5000, 5000);
    run_until(4, 1200000);
    return 0;
}
EOF
lwip=lwip/src
cc -w -Iinclude -I$lwip/include -o both main.c $lwip/core/*.c $lwip/core/ipv4/*.c
cat > own.py << 'EOF'
import socket

s = socket.socket()
s.bind(("127.0.0.1", 0))
s.connect(s.getsockname())
s.send(b"me")
print("Linux, to itself: connected,", s.recv(2).decode())
EOF
echo "lwIP $WANTED"
{
    ./both
    python3 own.py
} | tee lines
cat > wanted << 'EOF'
to a listener: connected
state 4
states after 5 seconds 2, 2
a, to b: ERR_ABRT
b, to a: ERR_ABRT
to itself: ERR_ABRT
Linux, to itself: connected, me
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
