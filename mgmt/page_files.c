#include "mgmt/page_files.h"

#include "hv/lib.h"

/* The assembler includes the file as it is: no tool has to turn it into C first. */
#define EMBED(symbol, path)                                                                        \
    __asm__(".pushsection .rodata\n" #symbol "_begin: .incbin \"" path "\"\n" #symbol              \
            "_end:\n.popsection\n.globl " #symbol "_begin, " #symbol "_end\n");                    \
    extern const char symbol##_begin[], symbol##_end[]
EMBED(page_index, "mgmt/page/index.html");
EMBED(page_icon, "mgmt/page/icon.svg");
EMBED(page_openapi, "mgmt/openapi.json");
/* Made of mgmt/page/, by mgmt/tools/page.py, and of xterm.js, by mgmt/tools/bundle.py. */
EMBED(page_app, "page.js.gz");
EMBED(page_style, "page.css.gz");
EMBED(page_xterm, "xterm.js.gz");

#define SCRIPT "text/javascript; charset=utf-8"

static const struct page_file files[] = {
    {"", "text/html; charset=utf-8", NULL, page_index_begin, page_index_end},
    {"icon.svg", "image/svg+xml", NULL, page_icon_begin, page_icon_end},
    {"openapi.json", "application/json", NULL, page_openapi_begin, page_openapi_end},
    {"app.js", SCRIPT, "gzip", page_app_begin, page_app_end},
    {"style.css", "text/css; charset=utf-8", "gzip", page_style_begin, page_style_end},
    {"xterm.js", SCRIPT, "gzip", page_xterm_begin, page_xterm_end},
};

const struct page_file *page_file_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}
