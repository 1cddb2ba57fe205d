#include "mgmt/places.h"

#include "mgmt/port.h"
#include "mgmt/route.h"
#include "mgmt/tls.h"

static struct connection connections[SERVER_CONNECTIONS];
static unsigned held; /* by all together */

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

/* Includes what TLS has not read. NULL: no connection holds anything. */
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
    if (c->phase == PHASE_WAITING)
        route_note_left(c->view, &c->request, &c->response);
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

/* ---- a new connection ---- */

static bool is_streaming(const struct connection *c)
{
    return (c->phase == PHASE_SENDING || c->phase == PHASE_STREAMING) &&
           connection_is_stream(&c->response);
}

/* The number that tokens of this role and of lesser ones may hold. */
static unsigned share(uint32_t role, unsigned read, unsigned operate, unsigned all)
{
    return role >= ROLE_ADMIN ? all : role == ROLE_OPERATE ? operate : read;
}

bool places_are_streams_taken(uint32_t role)
{
    unsigned all = 0, lesser = 0;

    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++) {
        bool streams = is_streaming(&connections[i]);

        all += streams;
        lesser += streams && connections[i].role <= role;
    }
    return all >= PLACES_STREAMS ||
           lesser >= share(role, PLACES_STREAMS_READ, PLACES_STREAMS_OPERATE, PLACES_STREAMS);
}

static bool is_idle(const struct connection *c)
{
    return (c->phase == PHASE_READING && !c->started) || c->phase == PHASE_LINGERING;
}

/* How little a connection is needed; 0: it stays. A client without a token can open any number of
 * connections and keep each busy, so having a token counts before being busy. */
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

static bool is_at_work(const struct connection *c, uint32_t role)
{
    return c->phase != PHASE_FREE && c->known && !is_idle(c) && c->role <= role;
}

/* Among the busy connections of `role` or a lesser one: the oldest of the least role. */
static struct connection *find_least(uint32_t role)
{
    struct connection *found = NULL;
    uint32_t now = port_ms();

    for (struct connection *c = connections; c < connections + SERVER_CONNECTIONS; c++)
        if (is_at_work(c, role) &&
            (!found || c->role < found->role ||
             (c->role == found->role && now - c->begun > now - found->begun)))
            found = c;
    return found;
}

/* If all are busy: the one to drop from the roles that together hold more than their share. */
static struct connection *find_greedy(void)
{
    for (uint32_t role = ROLE_READ; role < ROLE_ADMIN; role++) {
        unsigned n = 0;

        for (unsigned i = 0; i < SERVER_CONNECTIONS; i++)
            n += is_at_work(&connections[i], role);
        if (n > share(role, PLACES_READ, PLACES_OPERATE, SERVER_CONNECTIONS))
            return find_least(role);
    }
    return NULL;
}

struct connection *places_take(void)
{
    struct connection *c;

    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++)
        if (connections[i].phase == PHASE_FREE)
            return &connections[i];
    c = find_victim();
    if (!c)
        c = find_greedy();
    if (c && is_idle(c))
        (void)places_finish(c);
    else if (c)
        places_cut(c);
    return c;
}
