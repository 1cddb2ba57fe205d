/* What filter.c and filter_learn.c share. */
#pragma once

#include "net/filter.h"

/* A guarded address that was learned; it takes the place of the one learned first when there is no
 * room, and is taken away from whoever has it. */
void filter_learn_guarded(struct filter *f, const struct facts_address *a);
