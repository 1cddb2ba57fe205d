#include "mgmt/bhctl/contexts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_PATH_MAX 1024u
#define FOLDER        "bulkhead"

/* ---- the file ---- */

/* The folder of configurations, or that of ours in it; "" if there is none. */
static void find_folder(char path[FILE_PATH_MAX], const char *more)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = 0;

    path[0] = 0;
    if (xdg && xdg[0] == '/')
        n = snprintf(path, FILE_PATH_MAX, "%s%s", xdg, more);
    else if (home && home[0] == '/')
        n = snprintf(path, FILE_PATH_MAX, "%s/.config%s", home, more);
    if (n < 0 || (unsigned)n >= FILE_PATH_MAX)
        path[0] = 0;
}

int contexts_check_private(const char *path)
{
    struct stat st;

    if (stat(path, &st))
        return complain(EXIT_USAGE, "%s: %s", path, strerror(errno));
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return complain(EXIT_USAGE,
                        "%s: others may read or write it, and it holds a token: chmod 600", path);
    return EXIT_OK;
}

static bool name_is_good(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n <= CONTEXT_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

/* What is wrong with a context; NULL: nothing. */
static const char *check(const json_t *c)
{
    char base[URL_MAX];
    uint8_t pin[SHA256_SIZE];

    if (!json_is_object(c))
        return "is no object";
    if (!name_is_good(text_of(c, "name")))
        return "its name must have 1 to 31 of A-Z, a-z, 0-9, '-', '_' and '.'";
    if (*text_of(c, "token") && *text_of(c, "token_file"))
        return "it has a token and a token_file";
    if (*text_of(c, "fingerprint") && *text_of(c, "cacert"))
        return "it has a fingerprint and a cacert";
    if (*text_of(c, "fingerprint") && !url_fingerprint(text_of(c, "fingerprint"), pin))
        return "its fingerprint must be the 32 bytes of a SHA-256 in hexadecimal";
    return url_base(text_of(c, "url"), base);
}

static int check_all(const char *path, const json_t *all)
{
    const json_t *list = json_object_get(all, "contexts"), *c;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) > CONTEXTS_MAX)
        return complain(EXIT_USAGE, "%s: must be an object with a list \"contexts\" of at most %u",
                        path, CONTEXTS_MAX);
    json_array_foreach(list, i, c)
    {
        const char *wrong = check(c);

        if (wrong)
            return complain(EXIT_USAGE, "%s: context %zu, \"%s\": %s", path, i + 1,
                            text_of(c, "name"), wrong);
    }
    return EXIT_OK;
}

json_t *contexts_load(void)
{
    char path[FILE_PATH_MAX];
    json_error_t e;
    json_t *all;

    find_folder(path, "/" FOLDER "/contexts.json");
    if (!*path || (access(path, F_OK) && errno != EACCES))
        return json_pack("{s:[]}", "contexts");
    if (contexts_check_private(path) != EXIT_OK)
        return NULL;
    all = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
    if (!all) {
        (void)complain(EXIT_USAGE, "%s:%d: %s", path, e.line, e.text);
        return NULL;
    }
    if (check_all(path, all) == EXIT_OK)
        return all;
    json_decref(all);
    return NULL;
}

json_t *contexts_find(const json_t *all, const char *name)
{
    json_t *c;
    size_t i;

    json_array_foreach(json_object_get(all, "contexts"), i, c)
    {
        if (strcmp(text_of(c, "name"), name) == 0)
            return c;
    }
    return NULL;
}

/* Replaces a file as a whole. */
static int replace(const char *path, const json_t *content, mode_t mode)
{
    char new[FILE_PATH_MAX + 8];
    bool written = false;
    int fd;

    (void)snprintf(new, sizeof(new), "%s.XXXXXX", path);
    fd = mkstemp(new);
    if (fd >= 0) {
        written = json_dumpfd(content, fd, JSON_INDENT(2)) == 0 && write(fd, "\n", 1) == 1 &&
                  fchmod(fd, mode) == 0;
        written = close(fd) == 0 && written && rename(new, path) == 0;
    }
    if (written)
        return EXIT_OK;
    (void)complain(EXIT_USAGE, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)unlink(new);
    return EXIT_USAGE;
}

static int save(const json_t *all)
{
    char path[FILE_PATH_MAX];

    for (const char *const *p = (const char *const[]){"", "/" FOLDER, NULL}; *p; p++) {
        find_folder(path, *p);
        if (!*path)
            return complain(EXIT_USAGE, "there is no place for contexts: HOME is not set");
        if (mkdir(path, S_IRWXU) && errno != EEXIST)
            return complain(EXIT_USAGE, "%s: %s", path, strerror(errno));
    }
    find_folder(path, "/" FOLDER "/contexts.json");
    return replace(path, all, S_IRUSR | S_IWUSR);
}

/* ---- the command ---- */

static int list(const struct options *o, const json_t *all)
{
    const char *current = text_of(all, "current");
    json_t *c, *shown = json_array();
    size_t i;

    if (!json_array_size(json_object_get(all, "contexts")))
        say_note("There are none yet: bhctl contexts add NAME --url URL --token-file FILE "
                 "--fingerprint SHA256");
    if (!options_have(o, OPTION_JSON))
        printf("  %-16s %-40s %-11s  %s\n", "NAME", "URL", "TRUST", "TOKEN");
    json_array_foreach(json_object_get(all, "contexts"), i, c)
    {
        bool used = strcmp(text_of(c, "name"), current) == 0;
        const char *trust = *text_of(c, "fingerprint") ? "fingerprint"
                            : *text_of(c, "cacert")    ? "cacert"
                                                       : "-";

        if (options_have(o, OPTION_JSON)) {
            json_t *copy = json_copy(c);

            (void)json_object_del(copy, "token");
            (void)json_object_set_new(copy, "current", json_boolean(used));
            (void)json_array_append_new(shown, copy);
            continue;
        }
        printf("%s %-16s ", used ? "*" : " ", text_of(c, "name"));
        say_text(text_of(c, "url"), 40);
        printf(" %-11s  ", trust);
        say_text(*text_of(c, "token") ? "kept here" : text_of(c, "token_file"), 0);
        (void)putchar('\n');
    }
    shown = json_pack("{s:o}", "contexts", shown);
    if (options_have(o, OPTION_JSON)) {
        (void)json_dumpf(shown, stdout, JSON_COMPACT);
        (void)putchar('\n');
    }
    json_decref(shown);
    return say_end();
}

/* For Prometheus: file-based service discovery. The port is what Prometheus would not guess. */
static int write_targets(const json_t *all, const char *file)
{
    json_t *groups = json_array(), *c;
    size_t i;
    int rc;

    json_array_foreach(json_object_get(all, "contexts"), i, c)
    {
        const char *url = text_of(c, "url"), *scheme = url[4] == 's' ? "https" : "http";
        const char *host, *bracket;
        char target[URL_MAX + 8], base[URL_MAX];

        if (url_base(url, base)) /* without slashes at its end */
            continue;
        host = base + strlen(scheme) + 3;
        bracket = strrchr(host, ']');
        (void)snprintf(target, sizeof(target), "%s%s", host,
                       strchr(bracket ? bracket : host, ':') ? ""
                       : scheme[4] ? ":443"
                                   : ":80");
        (void)json_array_append_new(groups,
                                    json_pack("{s:[s], s:{s:s, s:s}}", "targets", target, "labels",
                                              "context", text_of(c, "name"), "__scheme__", scheme));
    }
    if (strcmp(file, "-") == 0) {
        (void)json_dumpf(groups, stdout, JSON_INDENT(2));
        (void)putchar('\n');
        rc = say_end();
    } else {
        rc = replace(file, groups, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH);
    }
    json_decref(groups);
    return rc;
}

/* A file's absolute path, as the command may be called from elsewhere. */
static void set_file(json_t *c, const char *member, const char *file)
{
    char *whole = file ? realpath(file, NULL) : NULL;

    if (whole)
        (void)json_object_set_new(c, member, json_string(whole));
    free(whole);
}

/* What is wrong with the options of a new context; NULL: nothing. */
static const char *check_options(const struct options *o, const json_t *c)
{
    const char *token = o->value[OPTION_TOKEN_FILE], *cacert = o->value[OPTION_CACERT];

    if (!c)
        return "is not UTF-8";
    if (token && access(token, R_OK))
        return "its token file cannot be read";
    if (cacert && access(cacert, R_OK))
        return "its certificate cannot be read";
    return o->value[OPTION_URL] ? check(c) : "it needs --url";
}

static json_t *make(const struct options *o, const char *name)
{
    const char *url = o->value[OPTION_URL];
    json_t *c = json_pack("{s:s, s:s}", "name", name, "url", url ? url : "");

    if (o->value[OPTION_TOKEN])
        (void)json_object_set_new(c, "token", json_string(o->value[OPTION_TOKEN]));
    if (o->value[OPTION_FINGERPRINT])
        (void)json_object_set_new(c, "fingerprint", json_string(o->value[OPTION_FINGERPRINT]));
    set_file(c, "token_file", o->value[OPTION_TOKEN_FILE]);
    set_file(c, "cacert", o->value[OPTION_CACERT]);
    return c;
}

static int add(json_t *all, const struct options *o, const char *name)
{
    const char *file = o->value[OPTION_TOKEN_FILE], *wrong;
    json_t *c;
    int rc = EXIT_OK;

    if (contexts_find(all, name))
        return complain(EXIT_USAGE, "a context \"%s\" exists already: remove it first", name);
    c = make(o, name);
    wrong = check_options(o, c);
    if (wrong)
        rc = complain(EXIT_USAGE, "context \"%s\": %s", name, wrong);
    else if (file)
        rc = contexts_check_private(file);
    if (rc == EXIT_OK && json_array_append(json_object_get(all, "contexts"), c))
        rc = complain(EXIT_USAGE, "out of memory");
    json_decref(c);
    if (rc != EXIT_OK)
        return rc;
    if (!*text_of(all, "current"))
        (void)json_object_set_new(all, "current", json_string(name));
    return save(all);
}

/* `use` and `remove`. */
static int change(json_t *all, const char *what, const char *name)
{
    json_t *list = json_object_get(all, "contexts"), *c = contexts_find(all, name);
    bool removes = strcmp(what, "remove") == 0;

    if (!c)
        return complain(EXIT_USAGE, "there is no context \"%s\": \"bhctl contexts\" lists them",
                        name);
    if (!removes)
        (void)json_object_set_new(all, "current", json_string(name));
    else if (strcmp(text_of(all, "current"), name) == 0)
        (void)json_object_del(all, "current");
    for (size_t i = 0; removes && i < json_array_size(list); i++)
        if (json_array_get(list, i) == c) {
            (void)json_array_remove(list, i);
            break;
        }
    return save(all);
}

int command_contexts(struct api *a)
{
    const struct options *o = a->options;
    const char *what = o->arg_count ? o->arg[0] : "list",
               *name = o->arg_count > 1 ? o->arg[1] : NULL;
    bool lists = strcmp(what, "list") == 0, adds = strcmp(what, "add") == 0;
    json_t *all;
    int rc;

    if (!lists && !adds && strcmp(what, "use") != 0 && strcmp(what, "remove") != 0)
        return complain(EXIT_USAGE, "contexts: \"%s\" must be list, add, use or remove", what);
    if (!lists != !!name)
        return complain(EXIT_USAGE, "contexts %s %s", what, lists ? "takes no name" : "needs NAME");
    all = contexts_load();
    if (!all)
        return EXIT_USAGE;
    if (o->value[OPTION_PROMETHEUS])
        rc = write_targets(all, o->value[OPTION_PROMETHEUS]);
    else
        rc = lists ? list(o, all) : adds ? add(all, o, name) : change(all, what, name);
    json_decref(all);
    return rc;
}
