/* SOURCES: @mgmt @llhttp */
#include "hv/lib.h"
#include "mgmt/api.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct abi_events events;
static struct api_answered answered[API_STATUSES_MAX];
static struct auth_table auth;
static struct audit audit;
static void note(const char *text)
{
    if (strlen(text) > 160)
        abort();
}
static struct config config;
static struct abi_host host = {.core_count = 2, .tsc_hz = 1000000, .guests = (1u << 1) - 1};
static struct abi_guest one = {.state = ABI_GUEST_RUNNING, .vcpu_count = 1, .config.name = "a"};
static struct abi_snapshot snaps[ABI_SNAPSHOTS];
static struct abi_exit ring_of_exits[ABI_EXITS];
static uint64_t ring_memory[(sizeof(struct abi_ring) + 64) / 8];

static const struct abi_guest *guest(unsigned n)
{
    return n == 0 ? &one : NULL;
}
static struct abi_vcpu stats;
static const struct abi_vcpu *vcpu(struct api_vcpu id)
{
    if (id.guest || id.vcpu)
        abort();
    return &stats;
}
static const struct abi_snapshot *snapshot(struct api_vcpu id, unsigned slot)
{
    if (id.guest || id.vcpu)
        abort();
    return &snaps[slot];
}
static const struct abi_exit *exits(struct api_vcpu id)
{
    if (id.guest || id.vcpu)
        abort();
    return ring_of_exits;
}
static const uint8_t *bitmaps(unsigned n)
{
    static uint8_t pages[ABI_BITMAPS_SIZE];

    (void)n;
    return pages;
}
static struct abi_caps caps[ABI_CORES_MAX];
static struct abi_thread threads[ABI_THREADS_MAX];
static const struct abi_ring *console(unsigned n)
{
    (void)n;
    return (const struct abi_ring *)(void *)ring_memory;
}
static int64_t take_snapshot(struct api_vcpu id, bool keep)
{
    (void)id;
    return keep ? 2 : 1;
}
static int64_t probe(unsigned row)
{
    return row % 3 ? (int64_t)(8 + 8 * row) | 8 << 16 | 1ll << 32 : -E_NOENT;
}
static struct abi_controls asked;
static int64_t controls(struct api_vcpu id, const struct abi_controls *c)
{
    asked = *c;
    return id.guest < 2 ? 3 : -E_STATE;
}
static int64_t type(unsigned n, const uint8_t *bytes, size_t len)
{
    (void)n;
    return memchr(bytes, 0, len) ? -E_STATE : (int64_t)len;
}
static int64_t memory(unsigned n, uint64_t address, uint8_t *bytes)
{
    (void)n;
    memset(bytes, 0xee, ABI_MEMORY_BYTES);
    return address < 8u << 20 ? 0 : -E_RANGE;
}

static int64_t host_act(unsigned action)
{
    if (action != ABI_HOST_REBOOT)
        abort();
    return 0;
}

static int64_t act(unsigned n, unsigned action)
{
    return n + action > 2 ? -E_STATE : 0;
}
static uint64_t tsc(void)
{
    return 1;
}

/* fuzz_deploy tries lasting changes: here all of them are refused. */
#define UPLOADED 100u
static const struct abi_images images = {
    .module_count = 1,
    .modules = {{.name = "iso.elf", .size = 5, .users = 1}},
    .images = {{.name = "up", .size = UPLOADED, .state = ABI_IMAGE_READY, .users = 1}},
};
static uint8_t *image_bytes(unsigned slot)
{
    static uint8_t uploaded[UPLOADED] = "\x7f"
                                        "ELF\x02\x01\x01";

    return slot == 0 ? uploaded : NULL;
}
static int64_t image_drop(unsigned slot)
{
    (void)slot;
    return -E_BUSY;
}
static int64_t create(struct abi_create *c)
{
    (void)str_copy(c->why, sizeof(c->why), "it is full");
    return -E_NOSPC;
}
static int64_t remove_guest(unsigned n)
{
    (void)n;
    return -E_PERM;
}

/* The bytes of a connection, with any number of requests. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request r;
    static char body[1 << 18];
    struct abi_ring *ring = (struct abi_ring *)(void *)ring_memory;
    static struct clock wall;
    const struct api_view v = {.host = &host,
                               .config = &config,
                               .config_whole = true,
                               .clock = &wall,
                               .answered = answered,
                               .auth = &auth,
                               .audit = &audit,
                               .note = note,
                               .random_token = "t",
                               .events = &events,
                               .log = ring,
                               .guest = guest,
                               .vcpu = vcpu,
                               .snapshot = snapshot,
                               .exits = exits,
                               .bitmaps = bitmaps,
                               .caps = caps,
                               .threads = threads,
                               .console = console,
                               .take_snapshot = take_snapshot,
                               .probe = probe,
                               .controls = controls,
                               .type = type,
                               .act = act,
                               .host_act = host_act,
                               .memory = memory,
                               .images = &images,
                               .image_bytes = image_bytes,
                               .image_drop = image_drop,
                               .create = create,
                               .remove = remove_guest,
                               .tsc = tsc};
    size_t at = 0;

    /* So does it select the kind of the machine. */
    host.state_kind = size % 3 == 0 ? ABI_STATE_SVM : ABI_STATE_VMX;
    for (unsigned i = 0; i < 3; i++) {
        snaps[i].sequence = i + 1;
        snaps[i].kind = host.state_kind;
        snaps[i].count = ABI_SNAPSHOT_FIELDS;
        memset(&snaps[i].vmcs, (int)(0x55u << i), sizeof(snaps[i].vmcs));
    }
    stats.entries = size;
    for (unsigned i = 0; i < ABI_EXITS; i++)
        ring_of_exits[i].reason = i % ABI_EXIT_REASONS;
    ring->size = 64;
    ring->written = 100;
    /* The number of bytes selects the authentication, so that the code after it is reached too. */
    config.management.service.auth = size % 4 == 0 ? AUTH_RANDOM : AUTH_NONE;
    config.management.service.http =
        size % 8 == 1 ? PORT80_PLAIN : PORT80_REDIRECT; /* selects the Host check */
    memset(&auth, 0, sizeof(auth));
    http_init(&r, NULL, NULL);
    while (at < size) {
        struct api_response out = {0};
        size_t used = http_feed(&r, (const char *)data + at, size - at);

        if (r.state == HTTP_MORE || r.state == HTTP_BAD)
            break;
        if (used == 0 || used > size - at)
            abort();
        at += used;
        api_handle(&v, &r, body, sizeof(body), &out, false, false);
        if (out.wait) /* the wait timed out */
            api_handle(&v, &r, body, sizeof(body), &out, true, true);
        if ((out.status < 200 && !out.upgrade) || out.body.len > sizeof(body) || !out.type)
            abort();
        if (out.stream.more && out.stream.more(&v, &out.stream, body, 1024) > 1024)
            abort();
        http_next(&r);
    }
    return 0;
}
