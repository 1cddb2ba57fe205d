#!/bin/sh
# lwIP 2.2.1 (Debian 13's source package 2.2.1+dfsg1-1+deb13u1). Its HTTP client (apps/http/http_client.c)
# asks with HTTP/1.1, and a server may then send a body in chunks. RFC 9112 (7.1) has every recipient decode
# them, and one that cannot must ask with HTTP/1.0. lwIP's client passes the body on as it came: the
# application gets the chunks' lengths in the middle of its data, with the result HTTPC_RESULT_OK. We
# expected the data, or an error. Content-Length counts for it in this spelling only, while names of
# fields have no case (RFC 9110, 5.1): if a server writes "content-length", a body that breaks off is OK
# too. An application has to look into the header for both.
#
# The program asks a server in the same stack five times. For each answer it prints the length that the
# client has found, the result (0: OK, 9: wrong length), and the body that it passed on.
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
#define LWIP_ALTCP              1
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
#include <string.h>

#include "lwip/apps/http_client.h"
#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"

static u32_t now;
static const char *answer;
static char asked[200], body[200];
static int over;

u32_t sys_now(void)
{
    return now;
}

static err_t server_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t e)
{
    if (!p)
        return ERR_OK;
    memset(asked, 0, sizeof(asked));
    pbuf_copy_partial(p, asked, sizeof(asked) - 1, 0);
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    tcp_write(pcb, answer, (u16_t)strlen(answer), TCP_WRITE_FLAG_COPY);
    return tcp_close(pcb);
}

static err_t server_accept(void *arg, struct tcp_pcb *pcb, err_t e)
{
    tcp_recv(pcb, server_recv);
    return ERR_OK;
}

static err_t client_recv(void *arg, struct altcp_pcb *pcb, struct pbuf *p, err_t e)
{
    if (p) {
        pbuf_copy_partial(p, body + strlen(body), (u16_t)(sizeof(body) - 1 - strlen(body)), 0);
        altcp_recved(pcb, p->tot_len);
        pbuf_free(p);
    }
    return ERR_OK;
}

static err_t client_header(httpc_state_t *c, void *arg, struct pbuf *header, u16_t n, u32_t length)
{
    if (length == 0xffffffff)
        printf(", length none");
    else
        printf(", length %u", length);
    return ERR_OK;
}

static void client_end(void *arg, httpc_result_t result, u32_t n, u32_t status, err_t e)
{
    printf(", result %d", result);
    over = 1;
}

static void ask(const char *what, const char *with)
{
    static const httpc_connection_t settings = {.result_fn = client_end, .headers_done_fn = client_header};
    static const ip_addr_t own = IPADDR4_INIT_BYTES(127, 0, 0, 1);
    httpc_state_t *c;

    answer = with;
    over = 0;
    memset(body, 0, sizeof(body));
    printf("%s", what);
    if (httpc_get_file(&own, 80, "/", &settings, client_recv, NULL, &c) != ERR_OK)
        printf(": not asked");
    for (u32_t end = now + 60000; !over && now < end; now += 10) {
        netif_poll_all();
        sys_check_timeouts();
    }
    printf(", body \"");
    for (const char *s = body; *s; s++)
        *s == '\r' ? printf("\\r") : *s == '\n' ? printf("\\n") : putchar(*s);
    printf("\"\n");
}

int main(void)
{
    struct tcp_pcb *listener;

    lwip_init();
    listener = tcp_new();
    tcp_bind(listener, IP_ADDR_ANY, 80);
    tcp_accept(tcp_listen(listener), server_accept);
    ask("whole", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    ask("broken off", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
    ask("lower case, whole", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789");
    ask("lower case, broken off", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234");
    ask("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n");
    printf("asked with: %.*s\n", (int)strcspn(asked, "\r"), asked);
    return 0;
}
EOF
lwip=lwip/src
cc -w -Iinclude -I$lwip/include -o client main.c $lwip/core/*.c $lwip/core/ipv4/*.c $lwip/apps/http/http_client.c
echo "lwIP $WANTED"
./client | tee lines
cat > wanted << 'EOF'
whole, length 10, result 0, body "0123456789"
broken off, length 10, result 9, body "01234"
lower case, whole, length none, result 0, body "0123456789"
lower case, broken off, length none, result 0, body "01234"
chunks, length none, result 0, body "4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"
asked with: GET / HTTP/1.1
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }
