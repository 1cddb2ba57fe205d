/*
 * The page's files: mgmt/page/ as in the source, and what the build made for it. They have no end
 * mark: use the sizes.
 */
#pragma once

#include "hv/types.h"

struct page_file {
    const char *name;     /* below "/page/"; "" is the page itself, at "/" */
    const char *type;     /* Content-Type */
    const char *encoding; /* Content-Encoding, or NULL */
    const char *begin, *end;
};

/* NULL if there is none of this name. */
const struct page_file *page_file_find(const char *name);
