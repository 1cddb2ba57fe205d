/*
 * Nested page tables: a struct nested whose leaves are those of long mode. APM vol. 2 "Nested
 * Paging".
 */
#pragma once

#include "arch/x86/guest/nested.h"

/* -E_NOMEM. */
int npt_init(struct nested *t, bool page_1g, void *(*alloc)(void *ctx), void *ctx) MUST_CHECK;
/* Maps [gpa, gpa + size) with the largest pages that alignment allows. Its memory type is
 * write-back together with a guest PAT that has nothing else. -E_INVAL (not page-aligned, above 48
 * bits, or without NESTED_READ), -E_EXIST (overlap), -E_NOMEM; after an error part of the range may
 * be mapped. */
int npt_map(struct nested *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
/* nested_place() of leaves with `perm`, which does not contain NESTED_EXECUTE; 0: removes. */
int npt_place(struct nested *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
