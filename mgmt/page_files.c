#include "mgmt/page_files.h"

#include "hv/lib.h"

/* The assembler includes the file as it is: no tool has to turn it into C first. */
#define EMBED_PATH(symbol, path)                                                                   \
    __asm__(".pushsection .rodata\n" #symbol "_begin: .incbin \"" path "\"\n" #symbol              \
            "_end:\n.popsection\n.globl " #symbol "_begin, " #symbol "_end\n");                    \
    extern const char symbol##_begin[], symbol##_end[]
#define EMBED(symbol, file) EMBED_PATH(symbol, "mgmt/page/" file)

EMBED(page_index, "index.html");
EMBED(page_style, "style.css");
EMBED(page_icon, "icon.svg");
EMBED(page_lib, "lib.js");
EMBED(page_actions, "actions.js");
EMBED(page_session, "session.js");
EMBED(page_app, "app.js");
EMBED(page_host, "host.js");
EMBED(page_vmcs, "vmcs.js");
EMBED(page_guest, "guest.js");
EMBED(page_deploy, "deploy.js");
EMBED(page_deploy_form, "deploy_form.js");
EMBED(page_fields, "fields.js");
EMBED(page_images, "images.js");
EMBED(page_upload, "upload.js");
EMBED(page_events, "events.js");
EMBED(page_plots, "plots.js");
EMBED(page_terminal, "terminal.js");
EMBED(page_help, "help.js");
EMBED_PATH(page_openapi, "mgmt/openapi.json");
/* Made of xterm.js by mgmt/tools/bundle.py. */
EMBED_PATH(page_xterm, "xterm.js.gz");
EMBED_PATH(page_xterm_style, "xterm.css.gz");

#define SCRIPT "text/javascript; charset=utf-8"

static const struct page_file files[] = {
    {"", "text/html; charset=utf-8", NULL, page_index_begin, page_index_end},
    {"style.css", "text/css; charset=utf-8", NULL, page_style_begin, page_style_end},
    {"icon.svg", "image/svg+xml", NULL, page_icon_begin, page_icon_end},
    {"lib.js", SCRIPT, NULL, page_lib_begin, page_lib_end},
    {"actions.js", SCRIPT, NULL, page_actions_begin, page_actions_end},
    {"session.js", SCRIPT, NULL, page_session_begin, page_session_end},
    {"app.js", SCRIPT, NULL, page_app_begin, page_app_end},
    {"host.js", SCRIPT, NULL, page_host_begin, page_host_end},
    {"vmcs.js", SCRIPT, NULL, page_vmcs_begin, page_vmcs_end},
    {"guest.js", SCRIPT, NULL, page_guest_begin, page_guest_end},
    {"deploy.js", SCRIPT, NULL, page_deploy_begin, page_deploy_end},
    {"deploy_form.js", SCRIPT, NULL, page_deploy_form_begin, page_deploy_form_end},
    {"fields.js", SCRIPT, NULL, page_fields_begin, page_fields_end},
    {"images.js", SCRIPT, NULL, page_images_begin, page_images_end},
    {"upload.js", SCRIPT, NULL, page_upload_begin, page_upload_end},
    {"events.js", SCRIPT, NULL, page_events_begin, page_events_end},
    {"plots.js", SCRIPT, NULL, page_plots_begin, page_plots_end},
    {"terminal.js", SCRIPT, NULL, page_terminal_begin, page_terminal_end},
    {"help.js", SCRIPT, NULL, page_help_begin, page_help_end},
    {"openapi.json", "application/json", NULL, page_openapi_begin, page_openapi_end},
    {"xterm.js", SCRIPT, "gzip", page_xterm_begin, page_xterm_end},
    {"xterm.css", "text/css; charset=utf-8", "gzip", page_xterm_style_begin, page_xterm_style_end},
};

const struct page_file *page_file_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}
