/* GET /v1/guests/{g}/terminal: opens a WebSocket. After the answer, terminal.c takes over. */
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/route.h"

void get_terminal(struct call *c, char *const *arg)
{
    const struct http_request *r = c->r;
    struct abi_guest g;
    int number = call_guest(c, arg[0], &g);
    unsigned status;
    const char *why;

    if (number < 0)
        return;
    why = websocket_refusal(&r->websocket, r->method == HTTP_GET && http_asks_upgrade(r), &status);
    if (why) {
        call_fail(c, status, why);
        return;
    }
    /* Unlike with other reads, a browser lets other sites' pages open this and read the answer. */
    if (r->cross_origin) {
        route_note_refusal(c->v, r, &c->who, 403);
        call_fail(c, 403, "sent by a page of another site (Origin is not Host)");
        return;
    }
    if (!(g.config.devices & (DEV_UART | DEV_CONSOLE))) {
        call_fail(c, 409, "the guest has no UART or console");
        return;
    }
    (void)call_begin(c);
    c->out->status = 101;
    c->out->upgrade = true;
    c->out->stream.guest = (unsigned)number;
}
