/* A guest's console: its output goes to standard output, typed keys go to the guest. */
#include "mgmt/bhctl/console.h"
#include "mgmt/bhctl/plain_utf8.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS    200
#define AGAIN_MS   100   /* the guest's UART was full, or there was no answer */
#define GIVE_UP_MS 15000 /* how long to retry typed bytes without a connection */
#define ECHO_MS    3000  /* most guests print something when a key is typed */
#define QUIET_S    2
#define LEAVE      0x1d /* Ctrl-] */

/* What was sent so far, if anything, is done with. */
static void forget(struct console *k, size_t n)
{
    memmove(k->typed, k->typed + n, k->count - n);
    k->count -= n;
}

static void refused(struct console *k)
{
    int status;

    if (k->answer.status == 409 && k->starting) {
        k->again_ms = clock_ms() + LOOK_MS;
        return;
    }
    if (k->answer.status == 409 && k->follows && !k->terminal) {
        forget(k, k->count); /* it ends, or has no UART */
        return;
    }
    if (k->terminal && k->answer.status == 409) {
        (void)fputs("\r\n[not running, or without a console: Ctrl-] leaves]\r\n", stderr);
        forget(k, k->count);
        return;
    }
    status = api_judge(k->ring.stream.api, &k->answer);
    k->status = status == EXIT_OK ? EXIT_REFUSED : status;
}

static void accepted(struct console *k)
{
    json_t *all = json_loadb(k->answer.body, k->answer.length, 0, NULL);
    uint64_t n = number_of(all, "accepted");

    forget(k, n < k->sent ? (size_t)n : k->sent);
    if (n < k->sent)
        k->again_ms = clock_ms() + AGAIN_MS;
    json_decref(all);
}

static void ended(void *ctx, CURL *c, CURLcode rc)
{
    struct console *k = container_of(ctx, struct console, ring);

    if (c != k->post) {
        k->other(k, c, rc);
        return;
    }
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &k->answer.status);
    (void)curl_multi_remove_handle(k->ring.stream.multi, c);
    k->posting = false;
    k->heard_ms = clock_ms();
    if (rc == CURLE_OK && k->answer.status != 503) {
        k->give_up_ms = 0;
        if (k->answer.status == 200) {
            accepted(k);
            stream_expect(&k->ring.stream, ECHO_MS);
        } else {
            refused(k);
        }
    } else if (k->give_up_ms && clock_ms() >= k->give_up_ms) {
        k->status = rc == CURLE_OK ? api_judge(k->ring.stream.api, &k->answer)
                                   : api_transfer(k->ring.stream.api, rc);
    } else {
        /* Without an answer it has most likely not arrived: the management guest is restarting, or
         * the connection was refused. */
        if (!k->give_up_ms)
            k->give_up_ms = clock_ms() + (k->follows ? k->ring.stream.patience_ms : GIVE_UP_MS);
        k->again_ms = clock_ms() + AGAIN_MS;
    }
}

static void send_typed(struct console *k)
{
    if (k->posting || k->count == 0 || clock_ms() < k->again_ms)
        return;
    reply_clear(&k->answer);
    k->answer.body = calloc(1, 1);
    k->sent = k->count < 256 ? k->count : 256;
    if (api_prepare(k->ring.stream.api, k->post, k->path, &k->answer) != EXIT_OK) {
        k->status = EXIT_USAGE;
        return;
    }
    (void)curl_easy_setopt(k->post, CURLOPT_POSTFIELDSIZE, (long)k->sent);
    (void)curl_easy_setopt(k->post, CURLOPT_COPYPOSTFIELDS, k->typed);
    k->posting = k->answer.body && curl_multi_add_handle(k->ring.stream.multi, k->post) == CURLM_OK;
    if (!k->posting)
        k->status = complain(EXIT_USAGE, "out of memory");
}

/* Always reads keys from a terminal, or Ctrl-] would never be seen; keys without room are lost. */
static void take_keys(struct console *k, const char *keys, size_t n)
{
    const char *leave = memchr(keys, LEAVE, n);
    size_t room = sizeof(k->typed) - k->count;

    if (leave) {
        k->leave = true;
        n = (size_t)(leave - keys);
    }
    if (n > room) {
        (void)fputc('\a', stderr);
        n = room;
    }
    memcpy(k->typed + k->count, keys, n);
    k->count += n;
}

static void take_lines(struct console *k, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        k->typed[k->count++] = text[i] == '\n' ? '\r' : text[i]; /* what the Return key sends */
}

static bool is_read(const struct console *k)
{
    return k->reads && !k->at_end && (k->terminal || k->count < sizeof(k->typed));
}

static void read_typed(struct console *k)
{
    char new[256];
    size_t room = sizeof(k->typed) - k->count;
    ssize_t n = read(STDIN_FILENO, new, k->terminal || room > sizeof(new) ? sizeof(new) : room);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        k->at_end = true;
        k->heard_ms = clock_ms();
    } else if (k->terminal) {
        take_keys(k, new, (size_t)n);
    } else {
        take_lines(k, new, (size_t)n);
    }
}

/* After the end of a pipe: everything was typed, and the guest has been silent for a while. */
static bool is_done(struct console *k)
{
    if (k->heard != k->ring.place.next) {
        k->heard = k->ring.place.next;
        k->heard_ms = clock_ms();
    }
    if (k->follows || !k->at_end || k->count || k->posting)
        return false;
    return k->terminal || clock_ms() - k->heard_ms >= k->quiet_ms;
}

int console_converse(struct console *k)
{
    int rc = EXIT_OK;

    while (rc == EXIT_OK && k->status == EXIT_OK && !k->leave && !term_stopped() && !is_done(k)) {
        struct curl_waitfd in = {.fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN};
        bool reads = is_read(k);
        struct pollfd look = {.fd = STDIN_FILENO, .events = POLLIN};
        bool waits = k->count && !k->posting;

        send_typed(k);
        if (k->look && !k->look(k))
            break;
        rc = stream_wait(&k->ring.stream, &in, reads ? 1 : 0, waits ? AGAIN_MS / 2 : LOOK_MS);
        /* Pipes with a closed end, and files, need a look of their own. */
        if (rc == EXIT_OK && reads && poll(&look, 1, 0) > 0)
            read_typed(k);
    }
    return rc == EXIT_OK ? k->status : rc;
}

static int print_json(struct api *a)
{
    char once[PATH_MAX_BYTES];
    json_t *all;
    int rc;

    if (!url_path(once, sizeof(once), "/v1/guests/%s/console?format=json", a->options->arg[0]))
        return complain(EXIT_USAGE, "\"%s\" cannot be a guest's name", a->options->arg[0]);
    all = api_get(a, once, &rc);
    json_decref(all);
    return rc;
}

/* A terminal with raw keys needs CR LF. */
static void show_plain(struct ring *g, const char *bytes, size_t n)
{
    struct console *k = container_of(g, struct console, ring);
    bool crlf = term_is_raw() && isatty(STDOUT_FILENO);

    for (size_t i = 0; i < n; i++) {
        char shown[PLAIN_MAX];
        size_t count = plain_feed(&k->plain, plain_utf8, (uint8_t)bytes[i], shown);

        if (crlf && count && shown[count - 1] == '\n')
            (void)fputc('\r', stdout);
        (void)fwrite(shown, 1, count, stdout);
    }
}

/* Is the guest's output shown as plain text instead of as it is? */
static bool is_filtered(const struct options *o)
{
    if (options_have(o, OPTION_RAW) || options_have(o, OPTION_FILTER))
        return options_have(o, OPTION_FILTER);
    return !isatty(STDOUT_FILENO);
}

/* Before its first byte is shown. */
static void warn(const struct console *k, bool filtered)
{
    if (!filtered && isatty(STDOUT_FILENO))
        (void)fprintf(stderr,
                      "[what %s prints goes to this terminal unfiltered and can control it; "
                      "--filter shows plain text]\n",
                      k->name);
}

int console_open(struct console *k, struct api *a)
{
    bool filtered = is_filtered(a->options);
    int rc;

    if (!url_path(k->path, sizeof(k->path), "/v1/guests/%s/console", k->name))
        return complain(EXIT_USAGE, "\"%s\" cannot be a guest's name", k->name);
    k->reads = true;
    k->ring.show = filtered ? show_plain : NULL;
    warn(k, filtered);
    rc = k->follows ? ring_begin(&k->ring, a, k->path)
                    : ring_open(&k->ring, a, k->path, options_have(a->options, OPTION_NEW));
    if (rc != EXIT_OK)
        return rc;
    k->ring.stream.ended = ended;
    k->post = curl_easy_init();
    if (!k->post)
        return complain(EXIT_USAGE, "out of memory");
    term_catch();
    if (k->follows && isatty(STDIN_FILENO) && !isatty(STDOUT_FILENO)) {
        k->reads = false; /* Ctrl-C remains a signal */
    } else if (isatty(STDIN_FILENO)) {
        (void)fprintf(stderr, "[console of %s: Ctrl-] %s]\n", k->name,
                      k->follows ? "ends the guest" : "leaves");
        k->terminal = term_raw(false);
    }
    return EXIT_OK;
}

void console_leave_terminal(const struct console *k)
{
    term_restore();
    if (k->terminal)
        (void)fputc('\n', stderr);
}

void console_close(struct console *k)
{
    if (k->posting)
        (void)curl_multi_remove_handle(k->ring.stream.multi, k->post);
    if (k->post)
        curl_easy_cleanup(k->post);
    stream_close(&k->ring.stream);
    reply_clear(&k->answer);
}

int console_options(const struct options *o)
{
    if (options_have(o, OPTION_RAW) && options_have(o, OPTION_FILTER))
        return complain(EXIT_USAGE, "--raw and --filter exclude each other");
    return EXIT_OK;
}

int command_console(struct api *a)
{
    static struct console k;
    const char *quiet = a->options->value[OPTION_QUIET];
    uint64_t seconds = QUIET_S;
    int rc;

    k.name = a->options->arg[0];
    rc = console_options(a->options);
    if (rc != EXIT_OK)
        return rc;
    if (quiet && !options_number(quiet, 0, 86400, &seconds))
        return complain(EXIT_USAGE, "--quiet: \"%s\" is not a number of seconds", quiet);
    k.quiet_ms = (int64_t)seconds * 1000;
    if (options_have(a->options, OPTION_JSON))
        return print_json(a);
    rc = console_open(&k, a);
    if (rc == EXIT_OK) {
        rc = console_converse(&k);
        console_leave_terminal(&k);
    }
    console_close(&k);
    return rc;
}
