#include "mgmt/words.h"

#define WORDS(name, count, ...) const char *const words_##name[(count) + 1] = {__VA_ARGS__};
#include "hv/words.def"
#undef WORDS

_Static_assert(1u << (ARRAY_LEN(words_device) - 1) == DEV_ALL + 1, "every device has a name");
_Static_assert(1u << (ARRAY_LEN(words_net_allow) - 1) == NET_ALLOW_ALL + 1, "each has a name");
