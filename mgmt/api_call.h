/* Shared by the API's resources: one request on its way through, and how to answer it. */
#pragma once

#include "mgmt/api.h"

#define SEQLOCK_TRIES 1000

struct dump_options;
struct state_table;

struct call {
    const struct api_view *v;
    const struct http_request *r;
    struct api_response *out;
    char *buf;
    size_t size;
    bool text, timed_out, waited, bad_format;
    enum api_wait came; /* with `waited`: what it waited for */
    struct target target;
    struct auth_identity who;
    char what[48]; /* for the log: what the path does not say about a change */
};

/* Begins the answer's body, JSON or text as the client wants it. */
struct json_out *call_begin(struct call *c);
/* The same for a body that is neither: `type` is its media type. */
struct json_out *call_begin_raw(struct call *c, const char *type);
/* An error instead of an answer. */
void call_fail(struct call *c, unsigned status, const char *message);
/* With a JSON pointer to the field of the body. */
void call_fail_at(struct call *c, unsigned status, const char *pointer, const char *message);
void call_failf(struct call *c, unsigned status, const char *format, ...) PRINTF(3, 4);

/* The value of a query parameter, decoded, or NULL. */
const char *call_query(const struct call *c, const char *name);
/* A parameter that is a whole number or 0 or 1; *v stays as it is if the parameter is absent.
 * False: it is malformed, and the call has failed with 400 and the parameter's name. */
bool call_query_u64(struct call *c, const char *name, uint64_t *v);
bool call_query_bool(struct call *c, const char *name, bool *v);
bool parse_u64(const char *s, uint64_t *v);
/* What this machine's snapshots and exits are of. */
const struct state_table *call_table(const struct call *c);
/* ?decode=, ?oddities=, ?group=, ?fields=. False: the call has failed with 400. */
bool call_dump_options(struct call *c, struct dump_options *o);

/* A consistent copy of a guest's status (its counters are each consistent on their own). */
bool call_copy_guest(const struct call *c, unsigned number, struct abi_guest *g);
/* Finds a guest by name and returns its number; or -E_NOENT, and the call has failed with 404. */
int call_guest(struct call *c, const char *name, struct abi_guest *g);
/* The same with one of its vCPUs: arg[0] is the guest's name, arg[1] the vCPU's number. False: the
 * call has failed with 404. */
bool call_vcpu(struct call *c, char *const *arg, struct abi_guest *g, struct api_vcpu *id);
const char *guest_state_name(uint32_t state);
/* A copy of the snapshot that was waited for, valid until the next one is requested; or NULL, and
 * the call has failed with 503. */
const struct abi_vmcs *call_snapshot(struct call *c, struct api_vcpu id);

/* The action that the body asks for, {"action": ...}, as its index in `names` (unused indices are
 * NULL); the audit line will name it. Negative: the call has failed with 400 and `allowed`. */
int call_action(struct call *c, const char *const *names, size_t count, const char *allowed);

/* ---- the resources: arg holds the path's variable segments ---- */

/* An answer without a body. */
void call_no_content(struct call *c);

void get_whoami(struct call *c, char *const *arg);
void get_healthz(struct call *c, char *const *arg);
void get_host(struct call *c, char *const *arg);
void get_log(struct call *c, char *const *arg);
/* Instead of a body: an answer without end, with this media type. */
void call_stream(struct call *c, const char *type,
                 size_t (*more)(const struct api_view *v, struct api_stream *s, char *buf,
                                size_t size),
                 uint64_t next, unsigned guest);

void get_events(struct call *c, char *const *arg);
void get_metrics(struct call *c, char *const *arg);
void get_page(struct call *c, char *const *arg);
void get_openapi(struct call *c, char *const *arg);
void get_page_file(struct call *c, char *const *arg);
void get_guests(struct call *c, char *const *arg);
void get_guest(struct call *c, char *const *arg);
void get_history(struct call *c, char *const *arg);
void get_memory(struct call *c, char *const *arg);
void post_guests(struct call *c, char *const *arg);
void delete_guest(struct call *c, char *const *arg);
void get_images(struct call *c, char *const *arg);
void get_image(struct call *c, char *const *arg);
void put_image(struct call *c, char *const *arg);
void delete_image(struct call *c, char *const *arg);
void get_config(struct call *c, char *const *arg);
void get_terminal(struct call *c, char *const *arg);
void get_console(struct call *c, char *const *arg);
void post_console(struct call *c, char *const *arg);
void post_action(struct call *c, char *const *arg);
void post_host_action(struct call *c, char *const *arg);
void get_exits(struct call *c, char *const *arg);
void get_vmcs(struct call *c, char *const *arg);
void patch_vmcs(struct call *c, char *const *arg);
void get_snapshots(struct call *c, char *const *arg);
void post_snapshot(struct call *c, char *const *arg);
void get_snapshot(struct call *c, char *const *arg);
void get_diff(struct call *c, char *const *arg);
void get_check(struct call *c, char *const *arg);
void get_layout(struct call *c, char *const *arg);
void post_decode(struct call *c, char *const *arg);
void get_capabilities(struct call *c, char *const *arg);
void get_svm_capabilities(struct call *c, char *const *arg);
void get_compare(struct call *c, char *const *arg);

/* How a network card of the host interrupts: enum abi_nic_irq. */
const char *nic_irq_name(unsigned irq);
#define NIC_PLACE_TEXT 16u /* with the NUL */
/* "0000:00:03.0" */
void nic_place_text(uint32_t place, char out[NIC_PLACE_TEXT]);
/* The counters that are not 0, by reason. */
void put_refused(struct json_out *j, const char *name, const uint64_t frames[NET_DROPS]);
/* "network": a guest's card, or null. */
void put_card(struct json_out *j, const struct abi_guest *g);

/* One exit as an object of the array that is open. */
void put_exit(struct json_out *j, const char *name, const struct state_table *t,
              const struct abi_exit *e);
/* The newest exit of a vCPU; false if it has had none. */
bool copy_last_exit(const struct call *c, struct api_vcpu id, struct abi_exit *e);

/* What a core's virtualisation extension can do, as an object in the answer. */
typedef void capabilities_of_core(struct json_out *j, const struct call *c, unsigned id,
                                  bool decode);
/* Answers with the processor and `put`'s object for each core. */
void call_put_capabilities(struct call *c, capabilities_of_core *put);
