/* The outcome of a request: in words, and as an exit status. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/words.h"

#include <stdio.h>
#include <string.h>

int api_transfer(const struct api *a, CURLcode rc)
{
    char shown[FINGERPRINT_TEXT], wanted[FINGERPRINT_TEXT];

    if (rc == CURLE_OK)
        return EXIT_OK;
    if (rc == CURLE_WRITE_ERROR)
        return complain(EXIT_USAGE,
                        "what came has more than %u MiB, or could not be kept or printed",
                        REPLY_MAX_MIB);
    if (a->pin_failed) {
        url_fingerprint_text(a->shown, shown);
        url_fingerprint_text(a->pin, wanted);
        return complain(EXIT_UNREACHABLE,
                        "%s shows another certificate than expected; nothing was sent to it\n"
                        "  it shows  %s\n"
                        "  expected  %s\n"
                        "The appliance's console says which is right.",
                        a->base, shown, wanted);
    }
    if (rc == CURLE_ABORTED_BY_CALLBACK && term_stopped())
        return EXIT_ENOUGH;
    if (rc == CURLE_ABORTED_BY_CALLBACK)
        return complain(EXIT_UNREACHABLE,
                        "%s: its certificate was not compared with %s; nothing was sent to it",
                        a->base, a->pinned);
    if (rc == CURLE_PEER_FAILED_VERIFICATION || rc == CURLE_SSL_CACERT_BADFILE)
        return complain(EXIT_UNREACHABLE,
                        "%s: the certificate cannot be trusted: %s\n"
                        "Say --fingerprint with what the appliance's console shows, --cacert with "
                        "its certificate, or --insecure.",
                        a->base, a->error[0] ? a->error : curl_easy_strerror(rc));
    return complain(EXIT_UNREACHABLE,
                    "%s cannot be reached: %s\n"
                    "Is the appliance running, and is that its address "
                    "(--url, BULKHEAD_URL)?",
                    a->base, a->error[0] ? a->error : curl_easy_strerror(rc));
}

/* The API's own words, from JSON or from text; "" if there are none. */
static void find_message(const struct reply *r, char *message, size_t size)
{
    json_t *all = json_loadb(r->body, r->length, 0, NULL);
    const json_t *e = json_object_get(all, "error");
    const char *line = all ? NULL : strstr(r->body, "message: ");
    char text[512] = "";

    if (line) {
        line += strlen("message: ");
        (void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(line, "\n"), line);
    }
    words_refusal(message, size, line ? text : text_of(e, "message"), text_of(e, "pointer"));
    json_decref(all);
}

int api_judge(const struct api *a, const struct reply *r)
{
    char message[640];

    if (r->status < 300)
        return EXIT_OK;
    if (r->status < 400)
        return complain(EXIT_UNREACHABLE,
                        "%s sends its clients to %s: say --url https://HOST[:PORT], with "
                        "--fingerprint, --cacert or --insecure",
                        a->base, r->location[0] ? r->location : "another place");
    find_message(r, message, sizeof(message));
    if (!message[0])
        (void)snprintf(message, sizeof(message), "HTTP status %ld, without a reason", r->status);
    switch (r->status) {
    case 401:
        return complain(EXIT_UNAUTHORISED,
                        "%s\nSay --token-file FILE or set BULKHEAD_TOKEN; "
                        "without tokens in its configuration, the appliance's "
                        "console shows one for this boot.",
                        a->headers ? message : "the appliance wants a token");
    case 403:
        return complain(EXIT_UNAUTHORISED, "%s", message);
    case 429:
        return complain(EXIT_UNAUTHORISED, "%s: try again in %u s, with the right one", message,
                        r->retry_after);
    default:
        return complain(EXIT_REFUSED, "%s", message);
    }
}
