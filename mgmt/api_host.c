/* The machine: health, cores, memory, network, log. */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/cpu_faults.h"
#include "mgmt/state.h"
#include "mgmt/put_config.h"
#include "mgmt/words.h"
#include "third_party.h"

static void put_time(struct json_out *j, const char *name, uint64_t us)
{
    char text[CLOCK_TEXT];

    clock_text(text, us);
    json_str(j, name, text);
}

/* Third-party code that is compiled in, as it was fetched. */
static void put_third_party(struct json_out *j)
{
    static const struct {
        const char *name, *version, *package;
    } all[] = {
#define PART(name, version, package) {name, version, package},
        THIRD_PARTY_EACH(PART)
#undef PART
    };

    json_array(j, "third_party");
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        json_object(j, NULL);
        json_str(j, "name", all[i].name);
        json_str(j, "version", all[i].version);
        json_str(j, "package", all[i].package);
        json_end(j);
    }
    json_end(j);
}

const char *nic_irq_name(unsigned irq)
{
    static const char *const names[] = {[ABI_NIC_POLLED] = "polled",
                                        [ABI_NIC_LINE] = "line",
                                        [ABI_NIC_MSI] = "msi",
                                        [ABI_NIC_MSIX] = "msi-x"};

    return irq < ABI_NIC_IRQS ? names[irq] : "polled";
}

void nic_place_text(uint32_t place, char out[NIC_PLACE_TEXT])
{
    (void)fmt(out, NIC_PLACE_TEXT, "%04x:%02x:%02x.%u", place >> 16, place >> 8 & 0xff,
              place >> 3 & 31, place & 7);
}

static void put_nic(struct json_out *j, const struct abi_nic *n)
{
    char place[NIC_PLACE_TEXT];

    nic_place_text(n->place, place);
    json_object(j, NULL);
    json_str(j, "name", n->name);
    json_str(j, "driver", n->driver);
    json_str(j, "pci", place);
    put_mac(j, "mac", n->mac, sizeof(n->mac));
    json_array(j, "roles");
    if (n->roles & ABI_NIC_MANAGEMENT)
        json_str(j, NULL, "management");
    if (n->roles & ABI_NIC_GUESTS)
        json_str(j, NULL, "guests");
    json_end(j);
    if (n->roles) {
        json_str(j, "interrupt", nic_irq_name(n->irq));
        json_bool(j, "link_up", n->link_up);
    } else {
        json_null(j, "interrupt");
        json_null(j, "link_up");
    }
    json_u64(j, "interrupts", n->interrupts);
    json_bool(j, "full_duplex", n->full_duplex);
    json_u64(j, "mbits", n->mbits);
    json_u64(j, "received", n->rx_frames);
    json_u64(j, "received_dropped", n->rx_dropped);
    json_u64(j, "sent", n->tx_frames);
    json_u64(j, "sent_dropped", n->tx_dropped);
    put_refused(j, "refused", n->became);
    json_end(j);
}

static void put_nics(struct json_out *j, const struct abi_host *h)
{
    uint64_t became[NET_DROPS] = {0};

    for (unsigned i = 0; i < ABI_NICS_MAX; i++)
        for (unsigned why = 0; why < NET_DROPS; why++)
            became[why] += h->nics[i].became[why];
    put_refused(j, "refused", became);
    json_array(j, "cards");
    for (unsigned i = 0; i < ABI_NICS_MAX && h->nics[i].name[0]; i++)
        put_nic(j, &h->nics[i]);
    json_end(j);
}

static uint32_t thread_count(const struct abi_host *h)
{
    return (uint32_t)min_u64(h->topology.threads, ABI_THREADS_MAX);
}

static void put_place(struct json_out *j, const struct abi_thread *t)
{
    json_u64(j, "package", t->package);
    json_u64(j, "physical_core", t->core);
    json_u64(j, "thread", t->thread);
    json_u64(j, "node", t->node);
}

/* The thread that core `id` is. */
static struct abi_thread thread_of(const struct call *c, uint32_t id)
{
    for (uint32_t i = 0; i < thread_count(c->v->host); i++)
        if (c->v->threads[i].state == ABI_THREAD_RUNS && c->v->threads[i].number == id)
            return c->v->threads[i];
    return (struct abi_thread){0};
}

static void put_core(struct json_out *j, const struct call *c, const struct abi_core *k)
{
    const struct abi_host *h = c->v->host;
    const struct abi_thread t = thread_of(c, k->id);
    uint64_t total = k->busy_ticks + k->idle_ticks;

    json_object(j, NULL);
    json_u64(j, "id", k->id);
    json_u64(j, "apic_id", k->apic_id);
    put_place(j, &t);
    json_bool(j, "vmx_root", k->flags & ABI_CORE_VMX_ROOT);
    json_u64(j, "tsc_hz", h->tsc_hz);
    json_u64(j, "vcpus", k->vcpus);
    json_u64(j, "load_percent", total ? k->busy_ticks / (total / 100 + 1) : 0);
    json_u64(j, "busy_ticks", k->busy_ticks);
    json_u64(j, "idle_ticks", k->idle_ticks);
    json_u64(j, "slice_ends", k->slice_ends);
    json_u64(j, "slice_late_max_ticks", k->slice_late_max);
    json_end(j);
}

/* Where the TSC's frequency comes from, and what the other sources say. */
static void put_tsc(struct json_out *j, const struct abi_host *h)
{
    json_object(j, "tsc");
    json_u64(j, "hz", h->tsc_hz);
    json_str(j, "verdict", h->tsc_verdict);
    json_array(j, "sources");
    for (unsigned i = 0; i < ABI_TSC_SOURCES_MAX && h->tsc_sources[i].name[0]; i++) {
        const struct abi_tsc_source *s = &h->tsc_sources[i];

        if (!s->hz)
            continue;
        json_object(j, NULL);
        json_str(j, "name", s->name);
        json_u64(j, "hz", s->hz);
        json_bool(j, "measured", s->flags & ABI_TSC_MEASURED);
        json_bool(j, "taken", s->flags & ABI_TSC_TAKEN);
        json_bool(j, "agrees", s->flags & ABI_TSC_AGREES);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

static void put_topology(struct json_out *j, const struct call *c)
{
    const struct abi_topology *t = &c->v->host->topology;

    json_object(j, "topology");
    json_u64(j, "packages", t->packages);
    json_u64(j, "physical_cores", t->cores);
    json_u64(j, "threads", t->threads);
    json_u64(j, "nodes", t->nodes);
    json_str(j, "smt", words_say(words_smt, (uint64_t)c->v->host->options.smt));
    json_array(j, "unused_threads");
    for (uint32_t i = 0; i < thread_count(c->v->host); i++) {
        const struct abi_thread *u = &c->v->threads[i];

        if (u->state == ABI_THREAD_RUNS || u->state >= ABI_THREAD_STATES)
            continue;
        json_object(j, NULL);
        json_u64(j, "apic_id", u->apic_id);
        put_place(j, u);
        json_str(j, "state", words_thread_state[u->state]);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

void get_host(struct call *c, char *const *arg)
{
    const struct abi_host *h = c->v->host;
    const struct abi_memory *m = &h->memory;
    uint64_t ran = c->v->tsc() - h->boot_tsc;
    struct json_out *j = call_begin(c);

    (void)arg;
    json_object(j, NULL);
    json_str(j, "version", h->version);
    json_str(j, "build_id", h->build_id);
    put_third_party(j);
    json_str(j, "cpu", h->cpu_brand);
    json_hex(j, "cpu_signature", h->cpu_signature, 1);
    put_cpu_faults(j, h);
    json_str(j, "virtualization", call_table(c)->extension);
    if (call_table(c) == &state_vmcs)
        json_hex(j, "vmcs_revision", h->vmcs_revision, 1);
    else
        json_null(j, "vmcs_revision");
    json_u64(j, "uptime_ms", h->tsc_hz >= 1000 ? ran / (h->tsc_hz / 1000) : 0);
    put_time(j, "time", clock_us(c->v->clock, h, c->v->tsc()));
    put_time(j, "boot_time", clock_us(c->v->clock, h, h->boot_tsc));
    json_str(j, "time_source", c->v->clock->synchronised ? "ntp" : "rtc");
    json_u64(j, "boot_to_first_entry_ticks",
             h->first_entry_tsc ? h->first_entry_tsc - h->boot_tsc : 0);
    json_u64(j, "boot_to_first_guest_ticks",
             h->first_guest_tsc ? h->first_guest_tsc - h->boot_tsc : 0);
    put_tsc(j, h);
    json_str(j, "serial_console", h->serial);
    json_array(j, "cores");
    for (uint32_t i = 0; i < h->core_count && i < ABI_CORES_MAX; i++)
        put_core(j, c, &h->cores[i]);
    json_end(j);
    put_topology(j, c);
    json_object(j, "memory");
    json_u64(j, "total", m->total);
    json_u64(j, "free", m->free);
    json_u64(j, "host", m->host);
    json_u64(j, "modules", m->modules);
    json_u64(j, "shared", m->shared);
    json_u64(j, "guests", m->guests);
    json_u64(j, "regions", m->regions);
    json_u64(j, "tables", m->tables);
    json_u64(j, "images", m->images);
    json_u64(j, "reserved", m->reserved);
    json_u64(j, "largest_free", m->largest_free);
    json_end(j);
    json_bool(j, "nx_large", h->nx_large);
    json_object(j, "network");
    json_str(j, "nic", h->nic);
    put_mac(j, "mac", h->mac, sizeof(h->mac));
    put_ip(j, "address", h->ip, "");
    put_ip(j, "netmask", h->netmask, "");
    put_nics(j, h);
    json_end(j);
    json_end(j);
}

void post_host_action(struct call *c, char *const *arg)
{
    static const char *const known[ABI_HOST_ACTION_END] = {[ABI_HOST_REBOOT] = "reboot"};
    int action =
        call_action(c, known, ARRAY_LEN(known), "the body must be {\"action\": \"reboot\"}");
    struct json_out *j;

    (void)arg;
    if (action < 0)
        return;
    if (c->v->host_act((unsigned)action) < 0) {
        call_fail(c, 409, "the hypervisor refuses it");
        return;
    }
    j = call_begin(c);
    c->out->status = 202;
    json_object(j, NULL);
    json_str(j, "action", known[action]);
    json_str(j, "status", "accepted");
    json_end(j);
}

void get_whoami(struct call *c, char *const *arg)
{
    struct json_out *j = call_begin(c);

    (void)arg;
    json_object(j, NULL);
    if (c->who.name[0])
        json_str(j, "name", c->who.name);
    else
        json_null(j, "name");
    json_str(j, "role", auth_role_name(c->who.role));
    json_end(j);
}

void get_healthz(struct call *c, char *const *arg)
{
    struct json_out *j = call_begin(c);

    (void)arg;
    json_object(j, NULL);
    json_str(j, "status", "ok");
    json_end(j);
}
