/* Names of values that are stored as numbers: hv/words.def. Not part of the root. */
#pragma once

#include "mgmt/config/config.h"

#define WORDS(name, count, ...) extern const char *const words_##name[(count) + 1];
#include "hv/words.def"
#undef WORDS

/* words[n], or "unknown" if n is out of range. `words` ends with NULL. */
static inline const char *words_say(const char *const *words, uint64_t n)
{
    for (uint64_t i = 0; words[i]; i++)
        if (i == n)
            return words[i];
    return "unknown";
}
