/* Shared by filter.c and filter_learn.c. */
#pragma once

#include "net/filter.h"

/* Guards a learned address. It replaces the oldest learned one if there is no room, and any guest
 * that has the address loses it. */
void filter_learn_guarded(struct filter *f, const struct facts_address *a);
