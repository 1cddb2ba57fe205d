/* The dashboard: for now a plain page with the guests and links. */
#include "hv/lib.h"
#include "mgmt/api_call.h"

static void put_row(struct json_out *j, const struct abi_guest *g)
{
    json_printf(j, "<tr><td><a href=\"/v1/guests/%s\">%s</a></td><td>%s</td><td>%s</td>", g->name,
                g->name, guest_state_name(g->state), g->why);
    json_printf(j, "<td>%u</td><td>%lu MB</td>", g->vcpus[0].core, g->memory >> 20);
    json_printf(j, "<td><a href=\"/v1/guests/%s/vcpus/0/vmcs?format=text\">VMCS</a></td>", g->name);
    json_printf(j, "<td><a href=\"/v1/guests/%s/console\">console</a></td></tr>\n", g->name);
}

void get_page(struct call *c, char *const *arg)
{
    static const char head[] =
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=5>"
        "<title>Bulkhead</title><style>body{font:16px system-ui,sans-serif;margin:2em;"
        "max-width:70em}table{border-collapse:collapse}td,th{padding:.3em .8em;text-align:left;"
        "border-bottom:1px solid #bbb}</style><h1>Bulkhead</h1>\n<table><tr><th>guest<th>state"
        "<th>why<th>core<th>memory<th>VMCS<th>console</tr>\n";
    static const char foot[] =
        "</table><p><a href=\"/v1/host\">host</a> "
        "<a href=\"/v1/guests\">guests</a> <a href=\"/v1/log\">log</a></p>\n";
    struct json_out *j;
    struct abi_guest g;

    (void)arg;
    c->text = false;
    j = call_begin_raw(c, "text/html; charset=utf-8");
    json_raw(j, head, sizeof(head) - 1);
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (call_copy_guest(c, i, &g))
            put_row(j, &g);
    json_raw(j, foot, sizeof(foot) - 1);
}
