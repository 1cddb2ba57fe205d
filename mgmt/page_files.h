/*
 * The page's files, mgmt/page/, as they are in the source. No end mark: use the sizes.
 */
#pragma once

#include "hv/types.h"

struct page_file {
    const char *name; /* below "/page/"; "" is the page itself, at "/" */
    const char *type; /* Content-Type */
    const char *begin, *end;
};

/* NULL when there is none of this name. */
const struct page_file *page_file_find(const char *name);
