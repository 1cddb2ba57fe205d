#!/bin/sh
# lwIP 2.2.1 (Debian 13's source package 2.2.1+dfsg1-1+deb13u1; 2.1.3 does the same). Its DHCP client
# declines an address that another host uses, as it must, but the DHCPDECLINE has no server identifier
# (option 54). RFC 2131, table 5 ("Fields and options used by DHCP clients"), says MUST, and lwIP's
# DHCPREQUEST a moment earlier has the option. We expected both to have it. A server that follows
# the table does not take the address out of its pool and offers it again.
# LWIP_HOOK_DHCP_APPEND_OPTIONS is the place to add it.
#
# The program plays a server that grants 10.0.0.9, and a neighbour that already uses 10.0.0.9.
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
#define LWIP_DHCP               1
#define MEM_ALIGNMENT           8
#define MEM_SIZE                65536
EOF
cat > include/arch/cc.h << 'EOF'
#include <stdlib.h>
#define LWIP_RAND()             ((unsigned)rand())
EOF
cat > main.c << 'EOF'
#include <stdio.h>
#include <string.h>

#include "lwip/dhcp.h"
#include "lwip/acd.h"
#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/prot/dhcp.h"
#include "lwip/prot/iana.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"

static struct netif wire;
static u32_t now;
static unsigned char frames[16][400]; /* for the client, at the next step */
static unsigned waiting, declines;
static const unsigned char server[4] = {10, 0, 0, 1}, granted[4] = {10, 0, 0, 9};

u32_t sys_now(void)
{
    return now;
}

static unsigned char *frame(unsigned short type)
{
    unsigned char *f = frames[waiting++];

    memset(f, 0, sizeof(frames[0]));
    memset(f, 0xff, 6);
    memcpy(f + 6, "\2\0\0\0\0\2", 6);
    f[12] = (unsigned char)(type >> 8);
    f[13] = (unsigned char)type;
    return f;
}

/* OFFER or ACK. BOOTP begins at 42, its options at 282. */
static void grant(const unsigned char *asked, unsigned char type)
{
    static const unsigned char ip[] = {0x45, 0, 0x01, 0x82, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 255, 255, 255, 255, 0, 67, 0, 68, 0x01, 0x6e, 0, 0};
    const unsigned char options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, type, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 255};
    unsigned char *f = frame(0x0800);
    unsigned sum = 0;

    memcpy(f + 14, ip, sizeof(ip));
    for (int i = 14; i < 34; i += 2)
        sum += (unsigned)(f[i] << 8 | f[i + 1]);
    sum = ~((sum & 0xffff) + (sum >> 16));
    f[24] = (unsigned char)(sum >> 8);
    f[25] = (unsigned char)sum;
    memcpy(f + 42, asked + 42, 236);
    f[42] = 2;
    memcpy(f + 58, granted, 4);
    memcpy(f + 278, options, sizeof(options));
}

static int has(const unsigned char *f, unsigned option)
{
    for (unsigned i = 282; i < 400 && f[i] != 255; i += f[i] ? 2u + f[i + 1] : 1u)
        if (f[i] == option)
            return 1;
    return 0;
}

static void on_dhcp(const unsigned char *f)
{
    const char *name = f[284] == 1 ? "DISCOVER" : f[284] == 3 ? "REQUEST" : "DECLINE";

    printf("%-8s requested address: %s, server identifier: %s\n", name, has(f, 50) ? "yes" : "no", has(f, 54) ? "yes" : "no");
    declines += f[284] == 4;
    if (f[284] == 1)
        grant(f, 2);
    else if (f[284] == 3)
        grant(f, 5);
}

static void on_arp(const unsigned char *f)
{
    unsigned char *g;

    if (memcmp(f + 38, granted, 4) != 0)
        return;
    g = frame(0x0806); /* the neighbour's: I have it */
    memcpy(g + 14, "\0\1\x08\0\6\4\0\2\2\0\0\0\0\2", 14);
    memcpy(g + 28, granted, 4);
}

static err_t output(struct netif *n, struct pbuf *p)
{
    unsigned char f[1600] = {0};

    (void)n;
    pbuf_copy_partial(p, f, sizeof(f), 0);
    if (f[12] == 8 && f[13] == 6)
        on_arp(f);
    else if (f[36] == 0 && f[37] == 67)
        on_dhcp(f);
    return ERR_OK;
}

static err_t up(struct netif *n)
{
    n->mtu = 1500;
    n->hwaddr_len = 6;
    memcpy(n->hwaddr, "\2\0\0\0\0\1", 6);
    n->output = etharp_output;
    n->linkoutput = output;
    n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_LINK_UP | NETIF_FLAG_ETHERNET;
    return ERR_OK;
}

int main(void)
{
    lwip_init();
    netif_add(&wire, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4, NULL, up, ethernet_input);
    netif_set_up(&wire);
    dhcp_start(&wire);
    for (; now < 30000 && !declines; now += 100) {
        while (waiting) {
            unsigned char f[400];
            struct pbuf *p = pbuf_alloc(PBUF_RAW, sizeof(f), PBUF_POOL);

            memcpy(f, frames[--waiting], sizeof(f));
            pbuf_take(p, f, sizeof(f));
            wire.input(p, &wire);
        }
        acd_tmr();
        if (now % 500 == 0)
            dhcp_fine_tmr();
    }
    return 0;
}
EOF
lwip=lwip/src
cc -w -Iinclude -I$lwip/include -o client main.c $lwip/core/*.c $lwip/core/ipv4/*.c $lwip/netif/ethernet.c
echo "lwIP $WANTED"
./client | tee out.txt
grep -q '^REQUEST .* server identifier: yes' out.txt && grep -q '^DECLINE  *requested address: yes, server identifier: no' out.txt || { echo "this has changed"; exit 1; }
