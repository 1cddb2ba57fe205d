/* SOURCES: test/kernel/trial_file.c */
#include "test/kernel/trial_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reading must end, and its results must lie within the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trial_file f = {.text = (const char *)data, .size = size};
    struct trial_field field;
    size_t lines = 0;
    struct trial t;
    int rc;

    while ((rc = trial_next(&f, &t)) != 0) {
        if (++lines > size + 1)
            __builtin_trap();
        if (rc < 0)
            continue;
        if (t.name < f.text || t.name + t.name_length > t.at || t.end > f.text + f.size)
            __builtin_trap();
        for (size_t n = 0; trial_next_field(&t, &field) == 1; n++)
            if (n > size || field.encoding > 0xffff)
                __builtin_trap();
    }
    return 0;
}
