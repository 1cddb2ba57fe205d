/* Translates the API's messages for command-line users. Pure. */
#pragma once

#include "hv/types.h"

/* The option that set the member at this JSON pointer in a guest's entry, without dashes: "/memory"
 * is "memory", "/budget_us" is "budget". NULL: no option did. */
const char *words_option(const char *pointer);

/* A refusal, reworded: with the refused option in front, if there is one; without the position in
 * JSON that the user did not write; with bhctl's commands instead of the API's resources; without
 * control characters. */
void words_refusal(char *buf, size_t size, const char *message, const char *pointer);
