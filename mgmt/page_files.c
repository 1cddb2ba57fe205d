#include "mgmt/page_files.h"

#include "hv/lib.h"

/* The assembler reads the file as it is: no tool has to turn it into C first. */
#define EMBED(symbol, file)                                                                        \
    __asm__(".pushsection .rodata\n" #symbol "_begin: .incbin \"mgmt/page/" file "\"\n" #symbol    \
            "_end:\n.popsection\n.globl " #symbol "_begin, " #symbol "_end\n");                    \
    extern const char symbol##_begin[], symbol##_end[]

EMBED(page_index, "index.html");
EMBED(page_style, "style.css");
EMBED(page_icon, "icon.svg");
EMBED(page_lib, "lib.js");
EMBED(page_app, "app.js");
EMBED(page_host, "host.js");
EMBED(page_vmcs, "vmcs.js");
EMBED(page_guest, "guest.js");

#define SCRIPT "text/javascript; charset=utf-8"

static const struct page_file files[] = {
    {"", "text/html; charset=utf-8", page_index_begin, page_index_end},
    {"style.css", "text/css; charset=utf-8", page_style_begin, page_style_end},
    {"icon.svg", "image/svg+xml", page_icon_begin, page_icon_end},
    {"lib.js", SCRIPT, page_lib_begin, page_lib_end},
    {"app.js", SCRIPT, page_app_begin, page_app_end},
    {"host.js", SCRIPT, page_host_begin, page_host_end},
    {"vmcs.js", SCRIPT, page_vmcs_begin, page_vmcs_end},
    {"guest.js", SCRIPT, page_guest_begin, page_guest_end},
};

const struct page_file *page_file_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}
