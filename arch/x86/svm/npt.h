/*
 * Nested page tables: a struct nested whose leaves are those of long mode. Memory's type is
 * write-back together with a guest PAT that has nothing else. APM vol. 2 "Nested Paging".
 */
#pragma once

#include "arch/x86/guest/nested.h"

/* -E_NOMEM. */
int npt_init(struct nested *t, bool page_1g, void *(*alloc)(void *ctx), void *ctx) MUST_CHECK;
