/* A local file that becomes an image on the appliance. */
#pragma once

#include "mgmt/bhctl/bhctl.h"

struct upload {
    const char *path;
    char name[IMAGE_NAME_SIZE]; /* of the image */
    uint64_t size;
    uint8_t sha256[SHA256_SIZE];
};

/* Reads the file once, for its size and hash. EXIT_OK, or it has complained. */
int upload_measure(struct upload *u) MUST_CHECK;
/* PUTs it without complaining: *r has the answer, which the caller frees, and *transfer says
 * whether there is one. EXIT_OK, or it has complained about the file. */
int upload_try(struct api *a, const struct upload *u, struct reply *r,
               CURLcode *transfer) MUST_CHECK;
/* The same, complaining about a refusal or a failed transfer. With --json it prints nothing; on a
 * terminal it shows a bar on standard error. */
int upload_send(struct api *a, const struct upload *u) MUST_CHECK;
/* After a refusal: removes the image again. */
int upload_undo(struct api *a, const struct upload *u) MUST_CHECK;
