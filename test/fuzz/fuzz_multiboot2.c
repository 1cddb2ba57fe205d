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
    for (size_t i = 0; info.rsdp_new.data && i < info.rsdp_new.size; i++)
        sum += info.rsdp_new.data[i];
    for (size_t i = 0; info.rsdp_old.data && i < info.rsdp_old.size; i++)
        sum += info.rsdp_old.data[i];
    for (unsigned i = 0; i < info.range_count; i++)
        sum += mb2_range(&info, i).ram;
    if (info.range_count > size / 24 || sum > 600 * size)
        abort();
    return 0;
}
