/* Runs a guest like a program: its console is standard output, its exit code the exit status. */
#include "mgmt/bhctl/run.h"

#include <openssl/rand.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_S    30
#define LOOK_FIRST_MS 200 /* at the guest's state; more seldom the longer it runs */
#define LOOK_LAST_MS  2000
#define LOOK_LIMIT_MS 10000 /* for an answer */
#define STOP_LIMIT_MS 10000

/* What the guest is doing, asked again and again beside its console. */
struct watch {
    struct run *run;
    struct console console;
    CURL *curl;
    struct reply reply;
    bool asking, over;
    int64_t next_ms;
    int pause_ms;
    /* The last answer: an end counts if it stays, unless no restart policy could follow it. */
    char state[24];
    uint64_t restarts;
    int status;    /* once it is over */
    char why[256]; /* what is said after all that the guest printed */
};

/* ---- what has been asked for ---- */

static int join_line(struct run *u)
{
    size_t n = 0;

    for (unsigned i = 0; i < u->options.line_count && n < sizeof(u->line); i++)
        n += (size_t)snprintf(u->line + n, sizeof(u->line) - n, "%s%s", i ? " " : "",
                              u->options.line[i]);
    if (n >= sizeof(u->line))
        return complain(EXIT_USAGE, "the command line is too long");
    if (!u->options.line)
        return EXIT_OK;
    if (options_have(&u->options, OPTION_GUEST_cmdline))
        return complain(EXIT_USAGE, "--cmdline and a command line after -- exclude each other");
    u->options.value[OPTION_GUEST_cmdline] = u->line;
    return EXIT_OK;
}

/* IMAGE is a file, or else an image on the appliance. */
static void find_image(struct options *o)
{
    if (o->arg_count && access(o->arg[0], F_OK) != 0 && !o->value[OPTION_IMAGE]) {
        o->value[OPTION_IMAGE] = o->arg[0];
        o->arg_count = 0;
    }
}

static int find_name(struct run *u)
{
    const struct options *o = &u->options;
    const char *image = o->arg_count ? o->arg[0] : o->value[OPTION_IMAGE];
    uint8_t random[5];

    if (options_have(o, OPTION_NAME)) {
        (void)snprintf(u->name, sizeof(u->name), "%s", o->value[OPTION_NAME]);
        if (strlen(o->value[OPTION_NAME]) >= sizeof(u->name))
            return complain(EXIT_USAGE, "--name: a guest's name has at most 31 characters");
    } else {
        if (RAND_bytes(random, sizeof(random)) != 1)
            return complain(EXIT_USAGE, "no random bytes are available");
        url_guest_name(image ? image : "", random, u->name);
        u->options.value[OPTION_NAME] = u->name;
    }
    if (!url_path(u->path, sizeof(u->path), "/v1/guests/%s", u->name))
        return complain(EXIT_USAGE, "--name: \"%s\" cannot be a guest's name", u->name);
    return EXIT_OK;
}

static int prepare(struct run *u)
{
    const char *patience = u->options.value[OPTION_PATIENCE];
    uint64_t seconds = PATIENCE_S;
    json_t *entry;
    int rc = join_line(u);

    if (patience && !options_number(patience, 0, 86400, &seconds))
        return complain(EXIT_USAGE, "--patience: \"%s\" is not a number of seconds", patience);
    u->patience_ms = (int)seconds * 1000;
    if (rc == EXIT_OK)
        rc = console_options(&u->options);
    find_image(&u->options);
    if (rc == EXIT_OK && !u->options.arg_count && !u->options.value[OPTION_IMAGE])
        rc = complain(EXIT_USAGE, "run needs IMAGE");
    if (rc == EXIT_OK)
        rc = find_name(u);
    if (rc == EXIT_OK && deploy_find_parts(&u->deployment, &u->options) != EXIT_OK)
        rc = u->options.arg_count && u->options.value[OPTION_IMAGE] ? EXIT_USAGE : RUN_NO_IMAGE;
    if (rc != EXIT_OK)
        return rc;
    entry = deploy_entry(&u->options, &u->deployment, &rc);
    json_decref(entry);
    return rc;
}

/* ---- watching it ---- */

static void end_watch(struct watch *w, int status)
{
    w->over = true;
    w->status = status;
}

static bool is_one_of(const char *state, const char *const *list)
{
    while (*list && strcmp(state, *list) != 0)
        list++;
    return *list != NULL;
}

/* The guest has ended for good. */
static void take_end(struct watch *w, const json_t *g)
{
    const char *state = text_of(g, "state"), *why = text_of(g, "why");

    if (strcmp(state, "stopped") != 0) {
        (void)snprintf(w->why, sizeof(w->why), "%s: %s: %s", w->run->name, state, why);
        end_watch(w, RUN_CRASHED);
    } else if (strcmp(text_of(g, "ended_by"), "request") == 0) {
        (void)snprintf(w->why, sizeof(w->why), "%s: %s", w->run->name, why);
        end_watch(w, RUN_SIGNAL + SIGTERM);
    } else {
        end_watch(w, (int)(number_of(g, "exit_code") & 0xff));
    }
}

static void take_state(struct watch *w, const json_t *g)
{
    static const char *const ends[] = {"stopped", "crashed", "failed", NULL};
    static const char *const gone[] = {"deleting", "deleted", NULL};
    static const char *const starts[] = {"starting", "restarting", NULL};
    const char *state = text_of(g, "state");
    const char *policy = text_of(json_object_get(g, "configuration"), "restart");
    bool stays = strcmp(state, w->state) == 0 && number_of(g, "restarts") == w->restarts;

    w->console.starting = is_one_of(state, starts);
    if (is_one_of(state, gone))
        end_watch(w, complain(RUN_LOST, "%s was deleted", w->run->name));
    else if (is_one_of(state, ends) && (stays || strcmp(policy, "never") == 0))
        take_end(w, g);
    (void)snprintf(w->state, sizeof(w->state), "%s", state);
    w->restarts = number_of(g, "restarts");
}

static void answered(struct console *k, CURL *c, CURLcode rc)
{
    struct watch *w = container_of(k, struct watch, console);
    json_t *g;

    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &w->reply.status);
    (void)curl_multi_remove_handle(k->ring.stream.multi, c);
    w->asking = false;
    w->next_ms = clock_ms() + w->pause_ms;
    w->pause_ms = w->pause_ms * 5 / 4 < LOOK_LAST_MS ? w->pause_ms * 5 / 4 : LOOK_LAST_MS;
    /* Without an answer the console's stream decides when that has lasted too long. */
    if (rc != CURLE_OK || w->reply.status == 503)
        return;
    if (w->reply.status == 404)
        end_watch(w, complain(RUN_LOST, "%s is gone: it was deleted, or the appliance was reset",
                              w->run->name));
    else if (api_judge(w->run->api, &w->reply) != EXIT_OK || !(g = api_json(&w->reply)))
        end_watch(w, RUN_LOST);
    else {
        take_state(w, g);
        json_decref(g);
    }
}

/* False: the guest has ended. */
static bool look(struct console *k)
{
    struct watch *w = container_of(k, struct watch, console);

    if (w->over)
        return false;
    if (w->asking || clock_ms() < w->next_ms)
        return true;
    reply_clear(&w->reply);
    w->reply.body = calloc(1, 1);
    if (!w->reply.body || api_prepare(w->run->api, w->curl, w->run->path, &w->reply) != EXIT_OK) {
        end_watch(w, RUN_LOST);
        return false;
    }
    (void)curl_easy_setopt(w->curl, CURLOPT_TIMEOUT_MS, (long)LOOK_LIMIT_MS);
    w->asking = curl_multi_add_handle(k->ring.stream.multi, w->curl) == CURLM_OK;
    return true;
}

/* What the user, the stream or the reader of standard output has ended it with; or the guest. */
static int outcome(const struct watch *w, int rc)
{
    if (term_signal())
        return RUN_SIGNAL + term_signal();
    if (rc == EXIT_ENOUGH)
        return RUN_SIGNAL + SIGPIPE;
    if (w->console.leave)
        return RUN_SIGNAL + SIGINT;
    return w->over ? w->status : RUN_LOST;
}

/* Until its end, or the command's. */
static int follow(struct run *u)
{
    static struct watch w;
    int rc;

    w = (struct watch){.run = u, .pause_ms = LOOK_FIRST_MS, .curl = curl_easy_init()};
    w.console.name = u->name;
    w.console.follows = w.console.starting = true;
    w.console.look = look;
    w.console.other = answered;
    w.console.ring.stream.patience_ms = u->patience_ms;
    w.console.ring.stream.polls = true;
    rc = w.curl ? console_open(&w.console, u->api) : complain(EXIT_USAGE, "out of memory");
    if (rc == EXIT_OK)
        rc = console_converse(&w.console);
    u->lost = rc == EXIT_UNREACHABLE;
    /* What it printed last. */
    if (rc == EXIT_OK && w.over && w.status != RUN_LOST)
        rc = ring_finish(&w.console.ring);
    console_leave_terminal(&w.console);
    if (w.why[0])
        (void)complain(w.status, "%s", w.why);
    if (w.status == RUN_CRASHED && !options_have(&u->options, OPTION_KEEP_GUEST))
        say_note(
            "With --keep it stays, for bhctl status, and the VMCS and the exits before the crash.");
    if (w.asking)
        (void)curl_multi_remove_handle(w.console.ring.stream.multi, w.curl);
    console_close(&w.console);
    if (w.curl)
        curl_easy_cleanup(w.curl);
    reply_clear(&w.reply);
    return outcome(&w, rc);
}

/* ---- its end ---- */

/* With --keep: it takes no more time of the appliance, but can be looked at. */
static void stop(struct run *u)
{
    static const char body[] = "{\"action\": \"stop\"}";
    CURLcode transfer = CURLE_OK;
    char path[PATH_MAX_BYTES];
    struct reply r = {.body = NULL};

    u->api->limit_ms = STOP_LIMIT_MS;
    if (url_path(path, sizeof(path), "/v1/guests/%s/actions", u->name))
        (void)!api_try(u->api, "POST", path, body, sizeof(body) - 1, &r, &transfer);
    reply_clear(&r);
}

static int end(struct run *u, int rc)
{
    bool detached = rc == EXIT_OK && options_have(&u->options, OPTION_DETACH);
    bool kept = u->asked && options_have(&u->options, OPTION_KEEP_GUEST);

    term_ignore();
    if (kept && !u->lost)
        stop(u);
    if (!detached && !kept)
        run_delete(u);
    return rc;
}

/* An exit status of other commands, as one of `run`. */
static int told(int rc)
{
    switch (rc) {
    case EXIT_REFUSED:
    case EXIT_UNREACHABLE:
    case EXIT_UNAUTHORISED:
        return RUN_LOST;
    case EXIT_ENOUGH:
        return RUN_SIGNAL + (term_signal() ? term_signal() : SIGPIPE);
    default:
        return rc;
    }
}

int command_run(struct api *a)
{
    static struct run u;
    int rc;

    u = (struct run){.api = a, .options = *a->options};
    rc = prepare(&u);
    if (rc != EXIT_OK)
        return rc;
    term_catch();
    rc = run_make(&u);
    u.lost = rc == EXIT_UNREACHABLE;
    if (rc != EXIT_OK)
        return end(&u, told(rc));
    if (!options_have(a->options, OPTION_DETACH))
        return end(&u, follow(&u));
    (void)puts(u.name);
    return end(&u, say_end());
}
