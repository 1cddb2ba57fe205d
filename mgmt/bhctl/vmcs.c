/* The VMCS or VMCB of a guest, as the appliance describes it, and the comparison of the two: as
 * text unless JSON is requested. */
#include "mgmt/bhctl/bhctl.h"

#include <stdio.h>
#include <string.h>

#define B(o)    OPTION_BIT(OPTION_##o)
#define DUMPING (B(FIELDS) | B(GROUP) | B(ODDITIES) | B(NO_DECODE))

/* The option that selects what is shown; without any: the present state. `with` may be given too.
 */
static const struct view {
    enum option_id option;
    uint64_t with;
    const char *method, *path;
} views[] = {
    {OPTION_SNAPSHOT, DUMPING, "GET", "/v1/guests/%s/vcpus/%s/%s/snapshots/%s?"},
    {OPTION_SNAPSHOTS, 0, "GET", "/v1/guests/%s/vcpus/%s/%s/snapshots?"},
    {OPTION_KEEP, DUMPING, "POST", "/v1/guests/%s/vcpus/%s/%s/snapshots?"},
    {OPTION_DIFF, B(TO) | B(VOLATILE), "GET", "/v1/guests/%s/vcpus/%s/%s/diff?from=%s&"},
    {OPTION_CHECK, 0, "GET", "/v1/guests/%s/vcpus/%s/%s/check?"},
    {OPTION_EXITS, 0, "GET", "/v1/guests/%s/vcpus/%s/exits?"},
};
static const struct view present = {OPTIONS, DUMPING, "GET", "/v1/guests/%s/vcpus/%s/%s?"};

static const struct view *find_view(const struct options *o, int *status)
{
    const struct view *found = &present;
    uint64_t others = 0;

    for (size_t i = 0; i < ARRAY_LEN(views); i++) {
        if (!options_have(o, views[i].option))
            continue;
        if (found != &present) {
            *status =
                complain(EXIT_USAGE, "--%s and --%s exclude each other",
                         option_spec(found->option)->name, option_spec(views[i].option)->name);
            return NULL;
        }
        found = &views[i];
    }
    others = o->given & (DUMPING | B(TO) | B(VOLATILE)) & ~found->with;
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (!option_is_allowed(others, i))
            continue;
        if (i == OPTION_TO || i == OPTION_VOLATILE)
            *status = complain(EXIT_USAGE, "--%s needs --diff", option_spec(i)->name);
        else
            *status = complain(EXIT_USAGE, "--%s has no meaning with --%s", option_spec(i)->name,
                               option_spec(found->option)->name);
        return NULL;
    }
    return found;
}

static int check_numbers(const struct options *o)
{
    static const enum option_id numbers[] = {OPTION_SNAPSHOT, OPTION_DIFF, OPTION_TO};
    const char *vcpu = o->value[OPTION_VCPU];
    uint64_t v;

    if (vcpu && !options_number(vcpu, 0, UINT32_MAX, &v))
        return complain(EXIT_USAGE, "--vcpu: \"%s\" is not the number of a vCPU", vcpu);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const char *value = o->value[numbers[i]];

        if (value && !options_number(value, 1, UINT64_MAX / 16, &v))
            return complain(EXIT_USAGE,
                            "--%s: \"%s\" is not the number of a snapshot; "
                            "--snapshots lists them",
                            option_spec(numbers[i])->name, value);
    }
    return EXIT_OK;
}

/* Appends "name=value&". */
static bool add(char path[PATH_MAX_BYTES], const char *name, const char *value)
{
    size_t n = strlen(path);

    return url_path(path + n, PATH_MAX_BYTES - n, "%s=%s&", name, value);
}

static int make_path(char path[PATH_MAX_BYTES], const struct options *o, const struct view *v,
                     bool json)
{
    const char *number = v->option == OPTIONS ? NULL : o->value[v->option];
    const char *vcpu = o->value[OPTION_VCPU] ? o->value[OPTION_VCPU] : "0";
    /* The command is called like the resource. */
    bool fits = url_path(path, PATH_MAX_BYTES, v->path, o->arg[0], vcpu, o->command->name, number);

    if (!fits)
        return complain(EXIT_USAGE, "\"%s\" cannot be a guest's name", o->arg[0]);
    fits = add(path, "format", json ? "json" : "text");
    if (v->with & B(FIELDS))
        fits = fits && add(path, "decode", options_have(o, OPTION_NO_DECODE) ? "0" : "1");
    if (options_have(o, OPTION_ODDITIES))
        fits = fits && add(path, "oddities", "1");
    if (o->value[OPTION_GROUP])
        fits = fits && add(path, "group", o->value[OPTION_GROUP]);
    if (o->value[OPTION_TO])
        fits = fits && add(path, "to", o->value[OPTION_TO]);
    if (v->option == OPTION_DIFF && !options_have(o, OPTION_VOLATILE))
        fits = fits && add(path, "volatile", "0");
    if (o->value[OPTION_FIELDS])
        fits = fits && add(path, "fields", o->value[OPTION_FIELDS]);
    if (!fits)
        return complain(EXIT_USAGE, "--fields: the list is too long for one request");
    path[strlen(path) - 1] = 0; /* the last '&' */
    return EXIT_OK;
}

static int find_format(const struct options *o, bool *json)
{
    const char *format = o->value[OPTION_FORMAT];

    *json = options_have(o, OPTION_JSON) || (format && strcmp(format, "json") == 0);
    if (format && !*json && strcmp(format, "text") != 0)
        return complain(EXIT_USAGE, "--format: \"%s\" must be text or json", format);
    return EXIT_OK;
}

static int show(struct api *a, const char *method, const char *path, bool json)
{
    struct reply r = {.body = NULL};
    int rc = api_call(a, method, path, strcmp(method, "POST") == 0 ? "" : NULL, 0, &r);

    if (rc == EXIT_OK && !json)
        reply_clean(&r);
    if (rc == EXIT_OK)
        rc = reply_print(&r);
    reply_clear(&r);
    return rc;
}

int command_vmcs(struct api *a)
{
    const struct options *o = a->options;
    char path[PATH_MAX_BYTES];
    const struct view *v;
    bool json;
    int rc = find_format(o, &json);

    if (rc != EXIT_OK)
        return rc;
    v = find_view(o, &rc);
    if (!v)
        return rc;
    rc = check_numbers(o);
    if (rc == EXIT_OK)
        rc = make_path(path, o, v, json);
    return rc == EXIT_OK ? show(a, v->method, path, json) : rc;
}

int command_compare(struct api *a)
{
    bool json;
    int rc = find_format(a->options, &json);

    if (rc != EXIT_OK)
        return rc;
    return show(a, "GET", json ? "/v1/compare?format=json" : "/v1/compare?format=text", json);
}
