/* A guest that is run like a program: `run`. */
#pragma once

#include "mgmt/bhctl/console.h"
#include "mgmt/bhctl/deploy.h"

/* Exit statuses of `run`, besides the guest's own, EXIT_USAGE, and RUN_SIGNAL plus a signal. */
enum {
    RUN_LOST = 125, /* no answer from the appliance, or it refused */
    RUN_CRASHED,    /* the guest crashed, or could not be started */
    RUN_NO_IMAGE,   /* there is no such image */
    RUN_SIGNAL,
};

struct run {
    struct api *api;
    struct options options; /* as given, with the name, the image and the command line filled in */
    struct deployment deployment;
    char name[GUEST_NAME_SIZE], path[PATH_MAX_BYTES]; /* the guest's */
    char line[4096];
    int patience_ms; /* how long the appliance may give no answer */
    bool lost;       /* it has given none for that long */
    bool asked;      /* to make the guest: it may exist */
};

/* Repeats a request until there is an answer other than 503, but not after `give_up_ms`. EXIT_OK:
 * there is one, which the caller frees. Otherwise it has complained, unless `quiet`. */
int run_insist(struct run *u, const char *method, const char *path, int64_t give_up_ms, bool quiet,
               struct reply *r) MUST_CHECK;
/* Uploads what is missing and makes the guest (run_make.c). EXIT_OK; RUN_NO_IMAGE; or what went
 * wrong. It has complained. */
int run_make(struct run *u) MUST_CHECK;
/* Deletes the guest and the images that it brought (run_make.c). It tries only once if the
 * appliance is lost. */
void run_delete(struct run *u);
