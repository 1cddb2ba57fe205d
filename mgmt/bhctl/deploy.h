/* A guest to be made from files and images. */
#pragma once

#include "mgmt/bhctl/upload.h"

#define DEPLOY_PARTS_MAX (1u + OPTIONS_MODULES_MAX + OPTIONS_DISKS_MAX)

/* A file that becomes an image, or an existing image. */
struct part {
    const char *image;
    bool uploaded;
    bool shared; /* an upload that other runs may use too (run_make.c) */
    struct upload upload;
};

struct deployment {
    struct part parts[DEPLOY_PARTS_MAX]; /* the image, then the modules, then the disks */
    unsigned count;
};

/* Takes the parts from the options, and reads the files. EXIT_OK, or it has complained. */
int deploy_find_parts(struct deployment *d, const struct options *o) MUST_CHECK;
/* The guest's entry, or NULL and *status. The appliance checks the values. */
json_t *deploy_entry(const struct options *o, const struct deployment *d, int *status) MUST_CHECK;
