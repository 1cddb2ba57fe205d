/* GET /v1/guests/{name}/memory: the memory of a guest that has ended or is paused, and allows it.
 */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/route.h"

#define MEMORY_TYPE "application/octet-stream"
#define LENGTH_MAX  (128u << 10) /* half of an answer's buffer */

/* A number in decimal or, after 0x, hexadecimal. */
static bool parse_address(const char *s, uint64_t *v)
{
    if (s[0] != '0' || s[1] != 'x')
        return parse_u64(s, v);
    s += 2;
    for (*v = 0; *s; s++) {
        unsigned digit = *s >= '0' && *s <= '9' ? (unsigned)(*s - '0')
                         : (*s | 0x20) >= 'a' && (*s | 0x20) <= 'f'
                             ? (unsigned)((*s | 0x20) - 'a') + 10
                             : 16;

        if (digit == 16 || *v >> 60)
            return false;
        *v = *v << 4 | digit;
    }
    return s[-1] != 'x';
}

static bool query_address(struct call *c, const char *name, uint64_t *v)
{
    const char *value = call_query(c, name);

    if (!value || parse_address(value, v))
        return true;
    call_failf(c, 400, "%s: must be a number, in decimal or such as 0x100000", name);
    return false;
}

/* The log has one line for everything that a token reads of one guest in one of its lives. */
static void note_reader(struct call *c, unsigned number, const struct abi_guest *g)
{
    static struct {
        struct auth_identity who;
        unsigned number;
        uint64_t started, stopped;
        bool said;
    } last;

    if (last.said && last.number == number && last.started == g->started_tsc &&
        last.stopped == g->stopped_tsc && strcmp(last.who.name, c->who.name) == 0)
        return;
    last.who = c->who;
    last.number = number;
    last.started = g->started_tsc;
    last.stopped = g->stopped_tsc;
    last.said = true;
    route_note_change(c->v, c->r, &c->who, "", 200);
}

static void refuse(struct call *c, const struct abi_guest *g, int64_t rc, uint64_t at)
{
    if (rc == -E_PERM)
        call_fail(c, 409,
                  "its configuration does not allow that: make it with \"memory_dump\": true");
    else if (rc == -E_STATE)
        call_failf(c, 409, "not possible: the guest is %s; pause or stop it",
                   guest_state_name(g->state));
    else
        call_failf(c, 400, "from: the guest has no memory at 0x%lx", at);
}

void get_memory(struct call *c, char *const *arg)
{
    static uint8_t bytes[ABI_MEMORY_BYTES];
    uint64_t from = 0, length = LENGTH_MAX, end;
    struct abi_guest g;
    int number = call_guest(c, arg[0], &g);
    struct json_out *j;

    if (number < 0 || !query_address(c, "from", &from) || !query_address(c, "length", &length))
        return;
    if (length < 1 || length > LENGTH_MAX || from > UINT64_MAX - LENGTH_MAX) {
        call_failf(c, 400, "length: must be 1 to %u", LENGTH_MAX);
        return;
    }
    end = from + length;
    j = call_begin_raw(c, MEMORY_TYPE);
    while (from < end) {
        uint64_t at = from & ~(uint64_t)(ABI_MEMORY_BYTES - 1), skip = from - at;
        size_t n = min_u64(ABI_MEMORY_BYTES - skip, end - from);
        int64_t rc = c->v->memory((unsigned)number, at, bytes);

        if (rc < 0) {
            refuse(c, &g, rc, from);
            return;
        }
        json_raw(j, (const char *)bytes + skip, n);
        from += n;
    }
    note_reader(c, (unsigned)number, &g);
}
