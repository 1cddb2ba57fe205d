#!/bin/sh
# lwIP 2.2.1 (Debian 13's source package 2.2.1+dfsg1-1+deb13u1). Its TFTP server answers an ACK that it has
# already had with an error packet, code 5 ("Wrong block number"), and an error ends a transfer (RFC 1350,
# 7). An ACK comes twice whenever the first one takes longer than the server's timer: the server sends the
# block again, and the client acknowledges that too. RFC 1123 (4.2.3.1) has the sender not send a block
# again for such an ACK, and thereby go on, so we expected the server to ignore it. A network that is
# slow once ends the transfer, although nothing was lost. lwIP's server for writing does take a block
# twice, and acknowledges it again. A larger TFTP_TIMEOUT_MSECS makes it rarer.
#
# The program serves 700 bytes to a client in the same stack, whose ACK of the first block takes
# 11.5 seconds of the simulated time. It prints what both sides send.
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
#define LWIP_TCP                0
#define LWIP_ARP                0
#define LWIP_HAVE_LOOPIF        1
#define LWIP_NETIF_LOOPBACK     1
#define MEM_ALIGNMENT           8
#define MEM_SIZE                65536
#define MEMP_NUM_SYS_TIMEOUT    10
EOF
cat > include/arch/cc.h << 'EOF'
#include <stdlib.h>
#define LWIP_RAND()             ((unsigned)rand())
EOF
cat > main.c << 'EOF'
#include <stdio.h>
#include <string.h>

#include "lwip/apps/tftp_server.h"
#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"

static u32_t now;
static int left = 700, over;
static const ip_addr_t own = IPADDR4_INIT_BYTES(127, 0, 0, 1);
static struct udp_pcb *client;

u32_t sys_now(void)
{
    return now;
}

static void *open_file(const char *name, const char *mode, u8_t write)
{
    return &left;
}

static void close_file(void *file)
{
}

static int read_file(void *file, void *buf, int n)
{
    n = n < left ? n : left;
    memset(buf, 'x', n);
    left -= n;
    return n;
}

static int write_file(void *file, struct pbuf *p)
{
    return -1;
}

static void on_error(void *file, int e, const char *text, int n)
{
}

static void transmit(const char *data, u16_t n)
{
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, n, PBUF_RAM);

    pbuf_take(p, data, n);
    udp_sendto(client, p, &own, 69);
    pbuf_free(p);
}

static void acknowledge(void *block)
{
    const char ack[4] = {0, 4, 0, (char)(size_t)block};

    printf("%2u s: client ACK %d\n", now / 1000, ack[3]);
    transmit(ack, 4);
}

/* The network holds back the ACKs of the first block until 11.5 seconds have passed. */
static void on_packet(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    char d[600] = {0};
    u16_t n = pbuf_copy_partial(p, d, sizeof(d) - 1, 0);

    if (d[1] == 3) {
        printf("%2u s: server DATA %d, %d bytes\n", now / 1000, d[3], n - 4);
        sys_timeout(d[3] == 1 && now < 11500 ? 11500 - now : 100, acknowledge, (void *)(size_t)d[3]);
        over = n < 516;
    } else {
        printf("%2u s: server ERROR %d, %s\n", now / 1000, d[3], d + 4);
        over = 1;
    }
    pbuf_free(p);
}

int main(void)
{
    static const struct tftp_context file = {open_file, close_file, read_file, write_file, on_error};

    lwip_init();
    tftp_init_server(&file);
    client = udp_new();
    udp_bind(client, &own, 1000);
    udp_recv(client, on_packet, NULL);
    transmit("\0\1file\0octet", 13);
    for (; now < 60000 && !over; now += 10) {
        netif_poll_all();
        sys_check_timeouts();
    }
    for (unsigned i = 0; i < 10; i++)
        netif_poll_all();
    return 0;
}
EOF
lwip=lwip/src
cc -w -Iinclude -I$lwip/include -o serve main.c $lwip/core/*.c $lwip/core/ipv4/*.c $lwip/apps/tftp/tftp.c
echo "lwIP $WANTED"
./serve | tee lines
cat > wanted << 'EOF'
 0 s: server DATA 1, 512 bytes
11 s: server DATA 1, 512 bytes
11 s: client ACK 1
11 s: client ACK 1
11 s: server DATA 2, 188 bytes
11 s: server ERROR 5, Wrong block number
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
