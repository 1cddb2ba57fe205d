/* Creates a guest from local files or from existing images: missing images by PUT, then the guest
 * by POST. */
#include "mgmt/bhctl/deploy.h"

#include "mgmt/bhctl/format.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* NULL: it is not UTF-8. */
static json_t *word_list(const char *text)
{
    json_t *list = json_array();

    while (list && *text) {
        size_t n = strcspn(text, ", ");

        if (n && json_array_append_new(list, json_stringn(text, n))) {
            json_decref(list);
            return NULL;
        }
        text += n + (text[n] != 0);
    }
    return list;
}

/* Converts an option's value to JSON, by its field's kind. NULL: it cannot be converted. */
static json_t *make_text(const char *value)
{
    return json_string(value);
}

static json_t *make_number(const char *value)
{
    uint64_t number;

    return options_number(value, 0, INT32_MAX, &number) ? json_integer((json_int_t)number) : NULL;
}

/* NULL: it cannot be converted. */
static json_t *make_cores(const char *text)
{
    json_t *list = json_array();

    while (list && *text) {
        size_t n = strcspn(text, ", ");
        char one[FORMAT_MAX];
        uint64_t core;

        if (n) {
            (void)snprintf(one, sizeof(one), "%.*s", (int)n, text);
            if (!options_number(one, 0, INT32_MAX, &core) ||
                json_array_append_new(list, json_integer((json_int_t)core))) {
                json_decref(list);
                return NULL;
            }
        }
        text += n + (text[n] != 0);
    }
    return list;
}

/* Also as other tools take it: "16777216", "16m", "16MB" and "16MiB" are the appliance's "16M". */
static json_t *make_memory(const char *value)
{
    size_t digits = strspn(value, "0123456789"), last = digits + (value[digits] != 0);
    char text[FORMAT_MAX];
    uint64_t bytes;

    if (options_number(value, 0, INT64_MAX, &bytes))
        return json_integer((json_int_t)bytes);
    if (strcasecmp(value + last, "B") == 0 || strcasecmp(value + last, "iB") == 0 || !value[last])
        (void)snprintf(text, sizeof(text), "%.*s%c", (int)digits, value,
                       toupper((unsigned char)value[digits]));
    else
        (void)snprintf(text, sizeof(text), "%s", value);
    return json_string(text);
}

/* An option turns its switch on, "no-..." off. */
static json_t *make_switch(const char *value)
{
    (void)value;
    return json_true();
}

#define make_core      make_number
#define make_choice    make_text
#define make_file      make_text
#define make_flags     word_list
#define make_addresses word_list
/* Fields without an option of their own. */
#define make_net       make_text
#define make_modules   make_text
#define make_disks     make_text

/* Options that are members of the guest's entry or of its network card's. */
static const struct member {
    enum option_id option;
    json_t *(*make)(const char *value);
    const char *name;
} members[] =
    {
#define GUEST(name, kind, ...) {OPTION_GUEST_##name, make_##kind, #name},
#include "hv/config_fields.def"
},
  net_members[] = {
#define NET(name, kind, ...) {OPTION_NET_##name, make_##kind, #name},
#include "hv/config_fields.def"
};

/* Takes ownership of `value`; jansson makes none from text that is not UTF-8. */
static int set(json_t *object, const char *member, json_t *value, enum option_id said_by)
{
    if (json_object_set_new(object, member, value) == 0)
        return EXIT_OK;
    return complain(EXIT_USAGE, "--%s: is not UTF-8", option_spec(said_by)->name);
}

static int set_members(json_t *object, const struct options *o, const struct member *m,
                       size_t count)
{
    int rc = EXIT_OK;

    for (; count && rc == EXIT_OK; count--, m++) {
        const char *value = o->value[m->option];
        json_t *made = value ? m->make(value) : NULL;

        if (m->make == make_switch && strncmp(option_spec(m->option)->name, "no-", 3) == 0)
            made = json_false();
        if (value && !made && m->make == make_number)
            rc = complain(EXIT_USAGE, "--%s: \"%s\" is not a whole number",
                          option_spec(m->option)->name, value);
        else if (value && !made && m->make == make_cores)
            rc = complain(EXIT_USAGE, "--%s: \"%s\" is not a list of cores, such as 0,2",
                          option_spec(m->option)->name, value);
        else if (value)
            rc = set(object, m->name, made, m->option);
    }
    return rc;
}

static int set_modules(json_t *g, const struct options *o, const struct deployment *d)
{
    json_t *modules = json_array();
    int rc = EXIT_OK;

    for (unsigned i = 1; i <= o->module_count && rc == EXIT_OK; i++) {
        const struct part *p = &d->parts[i];
        const char *args = o->modules[i - 1].args;
        json_t *one = json_object();

        rc = set(one, "file", json_string(p->image),
                 p->uploaded ? OPTION_MODULE : OPTION_MODULE_IMAGE);
        if (rc == EXIT_OK)
            rc = set(one, "args", json_string(args ? args : ""), OPTION_MODULE_ARGS);
        (void)json_array_append_new(modules, one);
    }
    if (rc == EXIT_OK && json_array_size(modules))
        (void)json_object_set(g, "modules", modules);
    json_decref(modules);
    return rc;
}

static int set_disks(json_t *g, const struct options *o, const struct deployment *d)
{
    json_t *disks = json_array();
    int rc = EXIT_OK;

    for (unsigned i = 0; i < o->disk_count && rc == EXIT_OK; i++) {
        const struct part *p = &d->parts[1 + o->module_count + i];
        const struct attached_option *k = &o->disks[i];
        json_t *one = json_object(), *mb = k->mb ? make_number(k->mb) : NULL;

        rc = set(one, "file", json_string(p->image), p->uploaded ? OPTION_DISK : OPTION_DISK_IMAGE);
        if (k->readonly)
            (void)json_object_set_new(one, "readonly", json_true());
        if (mb)
            (void)json_object_set_new(one, "size_mb", mb);
        else if (k->mb)
            rc = complain(EXIT_USAGE, "--disk-mb: \"%s\" is not a whole number", k->mb);
        (void)json_array_append_new(disks, one);
    }
    if (rc == EXIT_OK && json_array_size(disks))
        (void)json_object_set(g, "disks", disks);
    json_decref(disks);
    return rc;
}

json_t *deploy_entry(const struct options *o, const struct deployment *d, int *status)
{
    json_t *g = json_object(), *net = json_object();

    *status = set(g, "name", json_string(o->value[OPTION_NAME]), OPTION_NAME);
    if (*status == EXIT_OK)
        *status = set(g, "image", json_string(d->parts[0].image), OPTION_IMAGE);
    if (*status == EXIT_OK)
        *status = set_members(g, o, members, ARRAY_LEN(members));
    if (*status == EXIT_OK)
        *status = set_modules(g, o, d);
    if (*status == EXIT_OK)
        *status = set_disks(g, o, d);
    if (*status == EXIT_OK)
        *status = set_members(net, o, net_members, ARRAY_LEN(net_members));
    if (*status == EXIT_OK && json_object_size(net))
        (void)json_object_set(g, "net", net);
    json_decref(net);
    if (*status == EXIT_OK)
        return g;
    json_decref(g);
    return NULL;
}

/* Finds an image name that no other part has; reads the file. */
static int find_file(struct deployment *d, unsigned i, const char *guest, const char *path)
{
    struct part *p = &d->parts[i];
    unsigned same = 0;
    bool unique;

    p->upload.path = path;
    p->uploaded = true;
    p->image = p->upload.name;
    do {
        url_image_name(guest, path, same++, p->upload.name);
        unique = true;
        for (unsigned k = 0; k < d->count; k++)
            unique = unique &&
                     (k == i || !d->parts[k].image || strcmp(d->parts[k].image, p->image) != 0);
    } while (!unique);
    return upload_measure(&p->upload);
}

/* Part i, which is not the image. */
static const struct attached_option *attached(const struct options *o, unsigned i)
{
    return i > o->module_count ? &o->disks[i - 1 - o->module_count] : &o->modules[i - 1];
}

int deploy_find_parts(struct deployment *d, const struct options *o)
{
    const char *image = o->value[OPTION_IMAGE];
    int rc = EXIT_OK;

    if (!image == !o->arg_count)
        return complain(EXIT_USAGE, "%s needs %s, or --image IMAGE instead", o->command->name,
                        options_take_line(o->command) ? "IMAGE" : "FILE");
    d->count = 1 + o->module_count + o->disk_count;
    /* First the parts that already have a name. */
    d->parts[0].image = image;
    for (unsigned i = 1; i < d->count; i++)
        d->parts[i].image = attached(o, i)->image;
    for (unsigned i = 0; i < d->count && rc == EXIT_OK; i++)
        if (!d->parts[i].image)
            rc = find_file(d, i, o->value[OPTION_NAME], i ? attached(o, i)->file : o->arg[0]);
    return rc;
}

/* Before megabytes are sent: is the name already taken? */
static int check_name(struct api *a, const char *name)
{
    char path[PATH_MAX_BYTES];
    struct reply r;
    int rc;

    if (!url_path(path, sizeof(path), "/v1/guests/%s", name))
        return complain(EXIT_USAGE, "--name: \"%s\" cannot be a guest's name", name);
    rc = api_send(a, "GET", path, NULL, 0, &r);
    if (rc == EXIT_OK && r.status == 200)
        rc = complain(EXIT_REFUSED,
                      "a guest %s exists already: choose another --name, or "
                      "\"bhctl delete --images %s\" first",
                      name, name);
    else if (rc == EXIT_OK && r.status != 404)
        rc = api_judge(a, &r);
    reply_clear(&r);
    return rc;
}

/* " on core 0", or " on cores 0, 1" */
static void say_cores(const json_t *vcpus)
{
    const json_t *v;
    size_t i;

    printf(" on core%s", json_array_size(vcpus) > 1 ? "s" : "");
    json_array_foreach(vcpus, i, v)
    {
        printf("%s %" PRIu64, i ? "," : "", number_of(v, "core"));
    }
    (void)fputs("\n", stdout);
}

static int create(struct api *a, const json_t *entry)
{
    char *body = json_dumps(entry, JSON_COMPACT);
    struct reply r = {.body = NULL};
    json_t *g = NULL;
    int rc;

    if (!body)
        return complain(EXIT_USAGE, "out of memory");
    rc = api_call(a, "POST", "/v1/guests", body, strlen(body), &r);
    if (rc == EXIT_OK && options_have(a->options, OPTION_JSON)) {
        rc = reply_print(&r);
    } else if (rc == EXIT_OK && (g = api_json(&r)) != NULL) {
        char memory[FORMAT_MAX];

        format_bytes(memory, number_of(json_object_get(g, "configuration"), "memory"));
        say_text(text_of(g, "name"), 0);
        (void)fputs(": ", stdout);
        say_text(text_of(g, "state"), 0);
        printf(", %s", memory);
        say_cores(json_object_get(g, "vcpus"));
        rc = say_end();
    }
    json_decref(g);
    reply_clear(&r);
    free(body);
    return rc;
}

/* *sent: how many parts of the deployment exist. */
static int upload_all(struct api *a, const struct deployment *d, unsigned *sent)
{
    int rc = EXIT_OK;

    for (*sent = 0; *sent < d->count; ++*sent) {
        if (d->parts[*sent].uploaded)
            rc = upload_send(a, &d->parts[*sent].upload);
        if (rc != EXIT_OK) /* not counted: an image of this name is not ours */
            break;
    }
    return rc;
}

/* Without --name: after the file or the image. */
static int default_name(struct options *o, char name[GUEST_NAME_SIZE])
{
    const char *from = o->value[OPTION_IMAGE];

    if (options_have(o, OPTION_NAME))
        return EXIT_OK;
    from = from ? from : o->arg_count ? o->arg[0] : "";
    url_stem(from, GUEST_NAME_SIZE - 1, name);
    if (*from && !*name)
        return complain(EXIT_USAGE, "deploy needs --name NAME: none can be made from \"%s\"", from);
    o->value[OPTION_NAME] = name;
    return EXIT_OK;
}

int command_deploy(struct api *a)
{
    struct options o = *a->options;
    struct deployment d = {.count = 0};
    char name[GUEST_NAME_SIZE];
    json_t *entry = NULL;
    unsigned sent = 0;
    int rc = default_name(&o, name);

    if (rc == EXIT_OK)
        rc = deploy_find_parts(&d, &o);
    if (rc == EXIT_OK)
        entry = deploy_entry(&o, &d, &rc);
    if (rc == EXIT_OK)
        rc = check_name(a, o.value[OPTION_NAME]);
    if (rc == EXIT_OK)
        rc = upload_all(a, &d, &sent);
    if (rc == EXIT_OK)
        rc = create(a, entry);
    while ((rc == EXIT_REFUSED || rc == EXIT_UNAUTHORISED) && sent-- > 0)
        if (d.parts[sent].uploaded && upload_undo(a, &d.parts[sent].upload) != EXIT_OK)
            break;
    json_decref(entry);
    return rc;
}
