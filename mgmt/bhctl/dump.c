/* dump: a guest's memory and registers as a file for gdb. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/dump_file.h"
#include "mgmt/bhctl/format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (128u << 10) /* the most that the appliance gives at once */

struct dump {
    struct api *api;
    const char *guest, *path;
    const char *state; /* vmcs or vmcb */
    int fd;
    struct dump_file file;
};

static uint64_t hex_of(const json_t *object, const char *name)
{
    return strtoull(text_of(object, name), NULL, 16);
}

/* A field by its name in a VMCS or, without the prefix, in a VMCB. */
static uint64_t field_of(const json_t *state, const char *name)
{
    const json_t *f;
    size_t i;

    json_array_foreach(json_object_get(state, "fields"), i, f)
    {
        if (strcmp(text_of(f, "name"), name) == 0 ||
            strcmp(text_of(f, "name"), name + strlen("GUEST_")) == 0)
            return hex_of(f, "value");
    }
    return 0;
}

static void take_registers(struct dump_vcpu *v, const json_t *state)
{
    static const char *const numbered[] = {"R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"};
    const json_t *r = json_object_get(state, "registers");
    const struct {
        const char *name;
        uint64_t *to;
    } registers[] = {{"RIP", &v->rip}, {"RSP", &v->rsp}, {"RFLAGS", &v->rflags}, {"RAX", &v->rax},
                     {"RBX", &v->rbx}, {"RCX", &v->rcx}, {"RDX", &v->rdx},       {"RSI", &v->rsi},
                     {"RDI", &v->rdi}, {"RBP", &v->rbp}};
    const struct {
        const char *name;
        uint64_t *to;
    } fields[] = {{"GUEST_CS_SELECTOR", &v->cs},  {"GUEST_SS_SELECTOR", &v->ss},
                  {"GUEST_DS_SELECTOR", &v->ds},  {"GUEST_ES_SELECTOR", &v->es},
                  {"GUEST_FS_SELECTOR", &v->fs},  {"GUEST_GS_SELECTOR", &v->gs},
                  {"GUEST_FS_BASE", &v->fs_base}, {"GUEST_GS_BASE", &v->gs_base},
                  {"GUEST_CR0", &v->cr0},         {"GUEST_CR3", &v->cr3},
                  {"GUEST_CR4", &v->cr4},         {"GUEST_IA32_EFER", &v->efer}};

    for (unsigned i = 0; i < ARRAY_LEN(registers); i++)
        *registers[i].to = hex_of(r, registers[i].name);
    for (unsigned i = 0; i < ARRAY_LEN(numbered); i++)
        v->r[i] = hex_of(r, numbered[i]);
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
        *fields[i].to = field_of(state, fields[i].name);
    if (!v->efer)
        v->efer = field_of(state, "GUEST_EFER"); /* the VMCB's name */
}

/* GETs and parses; NULL, and *rc says why: it has complained, unless the status is `allowed`. */
static json_t *ask(struct dump *d, const char *path, long allowed, int *rc)
{
    struct reply r = {.body = NULL};
    json_t *answer = NULL;

    *rc = api_send(d->api, "GET", path, NULL, 0, &r);
    if (*rc == EXIT_OK && r.status != allowed)
        *rc = api_reply(d->api, &r);
    if (*rc == EXIT_OK && r.status != allowed && !(answer = api_json(&r)))
        *rc = EXIT_UNREACHABLE;
    reply_clear(&r);
    return answer;
}

/* The last state of each vCPU; one that was never started has none. */
static int take_vcpus(struct dump *d, size_t count)
{
    char path[PATH_MAX_BYTES], number[24];
    int rc = EXIT_OK;

    for (size_t i = 0; rc == EXIT_OK && i < count && i < DUMP_VCPUS_MAX; i++) {
        json_t *state;

        (void)snprintf(number, sizeof(number), "%zu", i);
        if (!url_path(path, sizeof(path), "/v1/guests/%s/vcpus/%s/%s", d->guest, number, d->state))
            return complain(EXIT_USAGE, "\"%s\" cannot be a name", d->guest);
        state = ask(d, path, i ? 409 : 0, &rc);
        if (state)
            take_registers(&d->file.vcpus[d->file.vcpu_count++], state);
        json_decref(state);
    }
    return rc;
}

static int write_at(const struct dump *d, const void *bytes, size_t n, uint64_t at)
{
    const char *from = bytes;

    while (n > 0) {
        ssize_t done = pwrite(d->fd, from, n, (off_t)at);

        if (done <= 0)
            return complain(EXIT_USAGE, "%s: %s", d->path, strerror(done ? errno : ENOSPC));
        from += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return EXIT_OK;
}

static bool is_zero(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

/* Memory of nothing but zeros becomes a hole of the file. */
static int take_chunk(struct dump *d, uint64_t at)
{
    uint64_t left = d->file.memory - at, gpa = at < DUMP_HOLE ? at : at + DUMP_HIGH - DUMP_HOLE;
    char path[PATH_MAX_BYTES], from[24], length[24];
    struct reply r = {.body = NULL};
    size_t n = left < CHUNK ? (size_t)left : CHUNK;
    int rc;

    (void)snprintf(from, sizeof(from), "%" PRIu64, gpa);
    (void)snprintf(length, sizeof(length), "%zu", n);
    if (!url_path(path, sizeof(path), "/v1/guests/%s/memory?from=%s&length=%s", d->guest, from,
                  length))
        return complain(EXIT_USAGE, "\"%s\" cannot be a name", d->guest);
    rc = api_call(d->api, "GET", path, NULL, 0, &r);
    if (rc == EXIT_OK && r.length != n)
        rc = complain(EXIT_UNREACHABLE, "%zu bytes came instead of %zu", r.length, n);
    if (rc == EXIT_OK && !is_zero(r.body, n))
        rc = write_at(d, r.body, n, DUMP_MEMORY_AT + at);
    reply_clear(&r);
    return rc;
}

static int take_memory(struct dump *d)
{
    int rc = EXIT_OK;

    for (uint64_t at = 0; rc == EXIT_OK && at < d->file.memory; at += CHUNK)
        rc = take_chunk(d, at);
    if (rc == EXIT_OK && ftruncate(d->fd, (off_t)(DUMP_MEMORY_AT + d->file.memory)))
        rc = complain(EXIT_USAGE, "%s: %s", d->path, strerror(errno));
    return rc;
}

static bool read_word(void *ctx, uint64_t gpa, uint64_t *word)
{
    const struct dump *d = ctx;
    uint64_t at = dump_offset(gpa);

    if ((gpa >= DUMP_HOLE && gpa < DUMP_HIGH) || at + sizeof(*word) > d->file.memory)
        return false;
    return pread(d->fd, word, sizeof(*word), (off_t)(DUMP_MEMORY_AT + at)) == sizeof(*word);
}

static int put_head(struct dump *d)
{
    static uint8_t head[DUMP_MEMORY_AT];

    dump_find_ranges(&d->file, read_word, d);
    if (d->file.cut)
        (void)complain(EXIT_OK, "note: its page tables have more than the %u ranges that are in %s",
                       d->file.range_count, d->path);
    dump_put_head(&d->file, head);
    return write_at(d, head, sizeof(head), 0);
}

static json_t *ask_guest(struct dump *d, int *rc)
{
    char path[PATH_MAX_BYTES];

    if (url_path(path, sizeof(path), "/v1/guests/%s", d->guest))
        return ask(d, path, 0, rc);
    *rc = complain(EXIT_USAGE, "\"%s\" cannot be a name", d->guest);
    return NULL;
}

/* Registers and memory must be of one life. */
static int check_life(struct dump *d, const json_t *before)
{
    int rc = EXIT_OK;
    json_t *now = ask_guest(d, &rc);

    if (now && (number_of(now, "started_tsc") != number_of(before, "started_tsc") ||
                strcmp(text_of(now, "state"), text_of(before, "state")) != 0))
        rc = complain(EXIT_REFUSED, "%s went on meanwhile: it is %s now", d->guest,
                      text_of(now, "state"));
    json_decref(now);
    return rc;
}

static int fill(struct dump *d, const json_t *guest)
{
    int rc = take_memory(d);

    if (rc == EXIT_OK)
        rc = take_vcpus(d, json_array_size(json_object_get(guest, "vcpus")));
    if (rc == EXIT_OK)
        rc = check_life(d, guest);
    if (rc == EXIT_OK)
        rc = put_head(d);
    if (close(d->fd) && rc == EXIT_OK)
        rc = complain(EXIT_USAGE, "%s: %s", d->path, strerror(errno));
    if (rc != EXIT_OK)
        (void)unlink(d->path);
    return rc;
}

static int find_kind(struct dump *d)
{
    int rc = EXIT_OK;
    json_t *host = ask(d, "/v1/host", 0, &rc);

    d->state = strcmp(text_of(host, "virtualization"), "AMD-V") == 0 ? "vmcb" : "vmcs";
    json_decref(host);
    return rc;
}

int command_dump(struct api *a)
{
    static struct dump d; /* large */
    char size[FORMAT_MAX];
    json_t *guest;
    int rc;

    d = (struct dump){.api = a, .guest = a->options->arg[0], .path = a->options->arg[1]};
    rc = find_kind(&d);
    guest = rc == EXIT_OK ? ask_guest(&d, &rc) : NULL;
    if (!guest)
        return rc;
    d.file.memory = number_of(json_object_get(guest, "configuration"), "memory");
    /* Only its owner may read it. */
    d.fd = open(d.path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (d.fd < 0)
        rc = complain(EXIT_USAGE, "%s: %s", d.path, strerror(errno));
    else
        rc = fill(&d, guest);
    json_decref(guest);
    if (rc != EXIT_OK)
        return rc;
    format_bytes(size, d.file.memory);
    printf("%s: %s of memory, registers of %u vCPU%s; to look at: gdb KERNEL %s\n", d.path, size,
           d.file.vcpu_count, d.file.vcpu_count == 1 ? "" : "s", d.path);
    return say_end();
}
