/* SOURCES: arch/x86/boot/multiboot2.c hv/lib.c */
#include "arch/x86/boot/multiboot2.h"

#include "hv/lib.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything the result points to must lie in the input and be terminated. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mb2_info info;
    size_t sum;
    char name[96];

    if (mb2_parse(data, size, &info))
        return 0;
    sum = strlen(info.cmdline);
    for (unsigned i = 0; i < info.module_count; i++) {
        if (info.modules[i].end < info.modules[i].start)
            abort();
        sum += strlen(info.modules[i].string);
        if (mb2_unquote(info.modules[i].string, name, sizeof(name)) &&
            strlen(name) > strlen(info.modules[i].string))
            abort();
    }
    for (size_t i = 0; info.rsdp && i < info.rsdp_size; i++)
        sum += info.rsdp[i];
    if (info.range_count > MB2_RANGES_MAX || sum > 300 * size)
        abort();
    return 0;
}
