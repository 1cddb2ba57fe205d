/*
 * Makes a guest for `run`, and removes all of it again. Images are named after their contents, so
 * that many guests at once share one: whoever finds it uses it, and each tries to delete it at its
 * end, which the appliance refuses while others use it.
 */
#include "mgmt/bhctl/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AGAIN_MS    300
#define ROUNDS      5     /* an image that another run has just deleted is uploaded again */
#define LOST_MS     3000  /* for a last try to delete on an appliance that gives no answer */
#define DELETE_MS   60000 /* a large guest takes its time to be scrubbed */
#define IMAGE_BYTES 16u   /* of its hash in its name */
#define PREFIX      "run-"

static bool may_pass(const struct api *a, CURLcode transfer, const struct reply *r)
{
    switch (transfer) {
    case CURLE_OK:
        return r->status == 503;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_ABORTED_BY_CALLBACK:
    case CURLE_WRITE_ERROR:
        return false;
    default:
        return !a->pin_failed;
    }
}

/* A pause before the next try. False: there is none. */
static bool try_again(int64_t give_up_ms)
{
    const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000l};

    if (clock_ms() >= give_up_ms)
        return false;
    (void)nanosleep(&pause, NULL);
    return !term_stopped();
}

int run_insist(struct run *u, const char *method, const char *path, int64_t give_up_ms, bool quiet,
               struct reply *r)
{
    CURLcode transfer = CURLE_OK;
    int rc;

    for (;;) {
        rc = api_try(u->api, method, path, NULL, 0, r, &transfer);
        if (rc != EXIT_OK || !may_pass(u->api, transfer, r))
            break;
        if (!try_again(give_up_ms))
            break;
        reply_clear(r);
    }
    if (term_stopped())
        return EXIT_ENOUGH;
    if (rc == EXIT_OK && transfer != CURLE_OK)
        rc = quiet ? EXIT_UNREACHABLE : api_transfer(u->api, transfer);
    return rc;
}

/* ---- images ---- */

static int list_images(struct run *u, json_t **all)
{
    struct reply r;
    int rc = run_insist(u, "GET", "/v1/images", clock_ms() + u->patience_ms, false, &r);

    *all = NULL;
    if (rc == EXIT_OK)
        rc = api_reply(u->api, &r);
    if (rc == EXIT_OK && !(*all = api_json(&r)))
        rc = EXIT_UNREACHABLE;
    reply_clear(&r);
    return rc;
}

/* The name of the image whose member `what` is this; or NULL. */
static const char *find_image(const json_t *all, const char *what, const char *value)
{
    const json_t *image;
    size_t i;

    json_array_foreach(json_object_get(all, "images"), i, image)
    {
        if (strcmp(text_of(image, what), value) == 0)
            return text_of(image, "name");
    }
    return NULL;
}

static bool is_there(struct run *u, const char *image)
{
    json_t *all = NULL;
    bool there = list_images(u, &all) == EXIT_OK && find_image(all, "name", image);

    json_decref(all);
    return there;
}

static int upload_part(struct run *u, struct part *p)
{
    int64_t give_up_ms = clock_ms() + u->patience_ms;
    struct reply r = {.body = NULL};
    CURLcode transfer = CURLE_OK;
    int rc;

    for (;;) {
        reply_clear(&r);
        rc = upload_try(u->api, &p->upload, &r, &transfer);
        if (rc != EXIT_OK || !may_pass(u->api, transfer, &r) || !try_again(give_up_ms))
            break;
    }
    if (rc == EXIT_OK && term_stopped())
        rc = EXIT_ENOUGH;
    if (rc == EXIT_OK && transfer != CURLE_OK)
        rc = api_transfer(u->api, transfer);
    /* 409: perhaps another run has just made a guest from it. */
    if (rc == EXIT_OK && (r.status != 409 || !is_there(u, p->image)))
        rc = api_reply(u->api, &r);
    reply_clear(&r);
    return rc;
}

/* Finds or uploads each part. */
static int supply(struct run *u)
{
    struct deployment *d = &u->deployment;
    json_t *all;
    int rc = list_images(u, &all);

    if (rc == EXIT_OK && !d->parts[0].uploaded && !find_image(all, "name", d->parts[0].image))
        rc = complain(RUN_NO_IMAGE,
                      "%s: there is neither a file nor an image on the appliance of this name",
                      d->parts[0].image);
    for (unsigned i = 0; i < d->count && rc == EXIT_OK; i++) {
        struct part *p = &d->parts[i];
        char hash[2 * SHA256_SIZE + 1];
        const char *known;

        if (!p->uploaded)
            continue;
        url_hex(p->upload.sha256, SHA256_SIZE, hash);
        known = find_image(all, "sha256", hash);
        if (known)
            (void)snprintf(p->upload.name, sizeof(p->upload.name), "%s", known);
        else
            (void)snprintf(p->upload.name, sizeof(p->upload.name), PREFIX "%.*s",
                           (int)(2 * IMAGE_BYTES), hash);
        p->shared = strncmp(p->image, PREFIX, sizeof(PREFIX) - 1) == 0;
        if (!known)
            rc = upload_part(u, p);
    }
    json_decref(all);
    return rc;
}

/* After a refusal: has an image gone since it was found? */
static bool are_missing(struct run *u)
{
    bool missing = false;
    json_t *all;

    if (list_images(u, &all) != EXIT_OK)
        return false;
    for (unsigned i = 0; i < u->deployment.count; i++)
        missing = missing || (u->deployment.parts[i].uploaded &&
                              !find_image(all, "name", u->deployment.parts[i].image));
    json_decref(all);
    return missing;
}

/* ---- the guest ---- */

/* After a request without an answer: was it made all the same? Its name was free before. */
static bool is_made(struct run *u)
{
    CURLcode transfer = CURLE_OK;
    struct reply r;
    bool made = api_try(u->api, "GET", u->path, NULL, 0, &r, &transfer) == EXIT_OK &&
                transfer == CURLE_OK && r.status == 200;

    reply_clear(&r);
    return made;
}

/* *answer: of the last try. */
static int post(struct run *u, const char *body, struct reply *answer)
{
    int64_t give_up_ms = clock_ms() + u->patience_ms;
    CURLcode transfer = CURLE_OK;
    int rc;

    for (;;) {
        u->asked = true;
        rc = api_try(u->api, "POST", "/v1/guests", body, strlen(body), answer, &transfer);
        if (rc != EXIT_OK || !may_pass(u->api, transfer, answer))
            break;
        if (transfer != CURLE_OK && is_made(u))
            return EXIT_OK;
        if (!try_again(give_up_ms))
            break;
        reply_clear(answer);
    }
    if (term_stopped())
        return EXIT_ENOUGH;
    if (rc == EXIT_OK && transfer != CURLE_OK)
        return api_transfer(u->api, transfer);
    if (rc == EXIT_OK && answer->status >= 400)
        u->asked = false;
    return rc == EXIT_OK && answer->status >= 400 ? EXIT_REFUSED : rc;
}

/* EXIT_REFUSED: *answer says why, and it has not complained. */
static int make_once(struct run *u, struct reply *answer)
{
    int rc;
    json_t *entry = deploy_entry(&u->options, &u->deployment, &rc);
    char *body = json_dumps(entry, JSON_COMPACT);

    if (body)
        rc = post(u, body, answer);
    json_decref(entry);
    free(body);
    return rc;
}

/* Before megabytes are sent: is the name that the user chose taken? */
static int check_name(struct run *u)
{
    struct reply r;
    int rc = run_insist(u, "GET", u->path, clock_ms() + u->patience_ms, false, &r);

    if (rc == EXIT_OK && r.status == 200)
        rc = complain(EXIT_REFUSED, "a guest %s exists already: choose another --name", u->name);
    else if (rc == EXIT_OK && r.status != 404)
        rc = api_reply(u->api, &r);
    reply_clear(&r);
    return rc;
}

int run_make(struct run *u)
{
    if (options_have(u->api->options, OPTION_NAME)) {
        int rc = check_name(u);

        if (rc != EXIT_OK)
            return rc;
    }
    for (unsigned i = 1;; i++) {
        struct reply r = {.body = NULL};
        int rc = supply(u);

        if (rc != EXIT_OK)
            return rc;
        rc = make_once(u, &r);
        if (rc == EXIT_REFUSED && i < ROUNDS && are_missing(u)) {
            reply_clear(&r);
            continue;
        }
        if (rc == EXIT_REFUSED)
            rc = api_reply(u->api, &r);
        reply_clear(&r);
        return rc;
    }
}

/* ---- the end ---- */

/* True: it is gone. */
static bool delete_guest(struct run *u, int64_t give_up_ms)
{
    struct reply r;
    bool gone = false;

    do {
        int rc = run_insist(u, "DELETE", u->path, give_up_ms, true, &r);

        gone = rc == EXIT_OK && (r.status == 204 || r.status == 404);
        /* 202: it is still being scrubbed, and its images are in use. */
        if (rc != EXIT_OK || r.status != 202)
            give_up_ms = 0;
        reply_clear(&r);
    } while (!gone && clock_ms() < give_up_ms);
    return gone;
}

void run_delete(struct run *u)
{
    int64_t give_up_ms = clock_ms() + (u->lost ? 0 : DELETE_MS);
    char path[PATH_MAX_BYTES];
    struct reply r;

    u->api->limit_ms = u->lost ? LOST_MS : DELETE_MS;
    if (u->asked && !delete_guest(u, give_up_ms)) {
        (void)complain(EXIT_REFUSED,
                       "%s could not be deleted: \"bhctl delete --images %s\" does, once the "
                       "appliance answers",
                       u->name, u->name);
        return;
    }
    for (unsigned i = 0; i < u->deployment.count; i++) {
        const struct part *p = &u->deployment.parts[i];

        /* 409: others use it, and delete it in turn. */
        if (p->shared && url_path(path, sizeof(path), "/v1/images/%s", p->image)) {
            if (run_insist(u, "DELETE", path, give_up_ms, true, &r) != EXIT_OK)
                give_up_ms = 0;
            reply_clear(&r);
        }
    }
}
