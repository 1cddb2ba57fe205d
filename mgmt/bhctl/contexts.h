/* The appliances that this user knows by name: contexts.json in ~/.config/bulkhead. */
#pragma once

#include "mgmt/bhctl/bhctl.h"

#define CONTEXTS_MAX     64u
#define CONTEXT_NAME_MAX 31u

/* {"current": NAME, "contexts": [{"name", "url", "token" or "token_file", "fingerprint" or
 * "cacert"}, ...]}, checked; empty if there is no file. NULL: it has complained. */
json_t *contexts_load(void) MUST_CHECK;
/* NULL: there is none of this name. */
json_t *contexts_find(const json_t *all, const char *name);
/* A file with a token in it: may others read it? EXIT_OK: no; or it has complained. */
int contexts_check_private(const char *path) MUST_CHECK;
