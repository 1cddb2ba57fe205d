/* The API's words for people at a command line. Pure. */
#pragma once

#include "hv/types.h"

/* The option that gave the member of a guest's entry at this JSON pointer, without dashes:
 * "/memory" is "memory", "/budget_us" is "budget". NULL: none did. */
const char *words_option(const char *pointer);

/* A refusal: with the option in front, if it was one that is refused; without the place in the JSON
 * that people did not write; with bhctl's commands instead of the API's resources; without control
 * characters. */
void words_refusal(char *buf, size_t size, const char *message, const char *pointer);
