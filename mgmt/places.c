#include "mgmt/places.h"

#include "mgmt/port.h"
#include "mgmt/tls.h"

static struct connection connections[SERVER_CONNECTIONS];
static unsigned held; /* by all */

struct connection *places_all(void)
{
    return connections;
}

/* ---- what has been received ---- */

void places_hold(struct connection *c, struct pbuf *p)
{
    u16_t n = pbuf_clen(p);

    if (c->pending)
        pbuf_cat(c->pending, p);
    else
        c->pending = p;
    c->held = (u16_t)(c->held + n);
    held += n;
}

void places_drop_first(struct connection *c)
{
    struct pbuf *p = c->pending;

    c->pending = p->next;
    if (c->pending)
        pbuf_ref(c->pending);
    pbuf_free(p);
    c->used = 0;
    c->held--;
    held--;
}

void places_drop_all(struct connection *c)
{
    if (c->pending)
        pbuf_free(c->pending);
    held -= c->held;
    c->held = c->used = 0;
    c->pending = NULL;
}

/* Also what TLS has not looked at; NULL: nobody holds anything. */
static struct connection *greediest(void)
{
    struct connection *found = NULL;
    unsigned most = 0;

    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++) {
        struct connection *c = &connections[i];
        unsigned n = c->phase == PHASE_FREE ? 0 : c->held + (c->tls ? tls_unread(c->pcb) : 0);

        if (n > most) {
            most = n;
            found = c;
        }
    }
    return found;
}

struct connection *places_shed(void)
{
    struct connection *c = held > PLACES_HELD_MAX ? greediest() : NULL;

    if (c)
        places_cut(c);
    return c;
}

void places_starved(void)
{
    struct connection *c = greediest();

    if (c)
        places_cut(c);
}

/* ---- ends ---- */

void places_release(struct connection *c)
{
    places_drop_all(c);
    upload_abort(&c->upload);
    if (c->upgraded)
        terminal_free(&c->terminal);
    c->upgraded = false;
    c->pcb = NULL;
    c->phase = PHASE_FREE;
}

static void detach(struct altcp_pcb *pcb)
{
    altcp_arg(pcb, NULL);
    altcp_recv(pcb, NULL);
    altcp_sent(pcb, NULL);
    altcp_err(pcb, NULL);
    altcp_poll(pcb, NULL, 0);
}

err_t places_finish(struct connection *c)
{
    struct altcp_pcb *pcb = c->pcb;

    detach(pcb);
    if (c->tls)
        tls_close_notify(pcb);
    places_release(c);
    return connection_close(pcb);
}

void places_cut(struct connection *c)
{
    struct altcp_pcb *pcb = c->pcb;

    detach(pcb);
    places_release(c);
    altcp_abort(pcb);
}

/* ---- one more ---- */

unsigned places_count_streams(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++)
        n += (connections[i].phase == PHASE_SENDING || connections[i].phase == PHASE_STREAMING) &&
             connection_is_stream(&connections[i].response);
    return n;
}

static bool is_idle(const struct connection *c)
{
    return (c->phase == PHASE_READING && !c->started) || c->phase == PHASE_LINGERING;
}

/* How little it is missed; 0: it stays. Whoever has no token can have any number of connections,
 * and keep each of them busy: so that comes before what they do. */
static unsigned rank(const struct connection *c)
{
    if (c->known)
        return is_idle(c) ? 1 : 0;
    return is_idle(c) ? 3 : 2;
}

static struct connection *find_victim(void)
{
    struct connection *found = NULL;
    uint32_t now = port_ms(), oldest = 0;
    unsigned best = 1;

    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++) {
        struct connection *c = &connections[i];
        uint32_t age = now - (is_idle(c) ? c->since : c->begun);
        unsigned r = rank(c);

        if (r < best || (r == best && found && age <= oldest))
            continue;
        found = c;
        best = r;
        oldest = age;
    }
    return found;
}

struct connection *places_take(void)
{
    struct connection *c;

    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++)
        if (connections[i].phase == PHASE_FREE)
            return &connections[i];
    c = find_victim();
    if (c && is_idle(c))
        (void)places_finish(c);
    else if (c)
        places_cut(c);
    return c;
}
