#include "mgmt/bhctl/upload.h"

#include "mgmt/bhctl/format.h"

#include <openssl/evp.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK (64u << 10)

static FILE *open_file(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");

    if (f && fstat(fileno(f), &st) == 0 && !S_ISREG(st.st_mode)) {
        (void)fclose(f);
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        f = NULL;
    }
    if (!f)
        (void)complain(EXIT_USAGE, "%s: %s", path,
                       errno == EINVAL ? "is not a regular file" : strerror(errno));
    return f;
}

int upload_measure(struct upload *u)
{
    static unsigned char block[BLOCK];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    FILE *f = open_file(u->path);
    bool good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    size_t n;
    int rc = EXIT_OK;

    if (!f) {
        EVP_MD_CTX_free(md);
        return EXIT_USAGE;
    }
    u->size = 0;
    while (good && (n = fread(block, 1, sizeof(block), f)) > 0) {
        good = EVP_DigestUpdate(md, block, n);
        u->size += n;
    }
    if (!good || !EVP_DigestFinal_ex(md, u->sha256, NULL))
        rc = complain(EXIT_USAGE, "%s: SHA-256 cannot be computed", u->path);
    else if (ferror(f))
        rc = complain(EXIT_USAGE, "%s: %s", u->path, strerror(errno));
    else if (u->size == 0)
        rc = complain(EXIT_USAGE, "%s: is empty: no image", u->path);
    EVP_MD_CTX_free(md);
    (void)fclose(f);
    return rc;
}

static size_t give(char *buf, size_t one, size_t n, void *ctx)
{
    FILE *f = ctx;
    size_t got = fread(buf, one, n, f);

    return got == 0 && ferror(f) ? CURL_READFUNC_ABORT : got * one;
}

static int rewind_file(void *ctx, curl_off_t offset, int origin)
{
    return fseeko(ctx, offset, origin) == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

static int show_progress(void *ctx, curl_off_t download, curl_off_t downloaded, curl_off_t total,
                         curl_off_t done)
{
    const struct upload *u = ctx;
    char line[256];
    unsigned columns, rows;

    (void)download;
    (void)downloaded;
    if (total <= 0)
        return term_stopped();
    term_size(&columns, &rows);
    format_progress(line, sizeof(line), u->name, (uint64_t)done, (uint64_t)total,
                    (columns < 100 ? columns : 100) - 1);
    (void)fprintf(stderr, "\r%s", line);
    return term_stopped();
}

/* "Repr-Digest: sha-256=:...:" (RFC 9530). */
static struct curl_slist *add_digest(const struct api *a, const struct upload *u)
{
    unsigned char base64[48];
    char field[96];
    struct curl_slist *list = NULL, *more;

    (void)EVP_EncodeBlock(base64, u->sha256, sizeof(u->sha256));
    (void)snprintf(field, sizeof(field), "Repr-Digest: sha-256=:%s:", (const char *)base64);
    more = curl_slist_append(NULL, field);
    for (const struct curl_slist *l = a->headers; more && l; l = l->next) {
        list = curl_slist_append(more, l->data);
        if (!list)
            break;
        more = list;
    }
    return more;
}

int upload_try(struct api *a, const struct upload *u, struct reply *r, CURLcode *transfer)
{
    bool shown = isatty(STDERR_FILENO) && !options_have(a->options, OPTION_JSON);
    struct curl_slist *headers;
    char path[PATH_MAX_BYTES];
    FILE *f = open_file(u->path);

    *r = (struct reply){.body = calloc(1, 1)};

    if (!f)
        return EXIT_USAGE;
    if (!url_path(path, sizeof(path), "/v1/images/%s", u->name)) {
        (void)fclose(f);
        return complain(EXIT_USAGE, "%s: makes no name of an image", u->path);
    }
    if (!r->body || api_prepare(a, a->curl, path, r) != EXIT_OK) {
        (void)fclose(f);
        return EXIT_USAGE;
    }
    headers = add_digest(a, u);
    (void)curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(a->curl, CURLOPT_UPLOAD, 1L);
    (void)curl_easy_setopt(a->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)u->size);
    (void)curl_easy_setopt(a->curl, CURLOPT_READFUNCTION, give);
    (void)curl_easy_setopt(a->curl, CURLOPT_READDATA, f);
    (void)curl_easy_setopt(a->curl, CURLOPT_SEEKFUNCTION, rewind_file);
    (void)curl_easy_setopt(a->curl, CURLOPT_SEEKDATA, f);
    if (shown) {
        (void)curl_easy_setopt(a->curl, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(a->curl, CURLOPT_XFERINFOFUNCTION, show_progress);
        (void)curl_easy_setopt(a->curl, CURLOPT_XFERINFODATA, u);
    }
    *transfer = curl_easy_perform(a->curl);
    if (shown)
        (void)fputc('\n', stderr);
    (void)curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &r->status);
    curl_slist_free_all(headers);
    (void)fclose(f);
    return EXIT_OK;
}

int upload_send(struct api *a, const struct upload *u)
{
    CURLcode transfer = CURLE_OK;
    struct reply r;
    int rc = upload_try(a, u, &r, &transfer);

    if (rc == EXIT_OK)
        rc = transfer == CURLE_OK ? api_reply(a, &r) : api_transfer(a, transfer);
    reply_clear(&r);
    return rc;
}

int upload_undo(struct api *a, const struct upload *u)
{
    char path[PATH_MAX_BYTES];
    struct reply r = {.body = NULL};
    int rc = EXIT_USAGE;

    if (url_path(path, sizeof(path), "/v1/images/%s", u->name))
        rc = api_send(a, "DELETE", path, NULL, 0, &r);
    reply_clear(&r);
    return rc;
}
