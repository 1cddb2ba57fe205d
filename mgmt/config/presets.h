/* The defaults in hv/config_fields.def for programs that only show them: PRESET_##kind(preset) is a
 * number and a text, one of which counts. */
#pragma once

#include "hv/config.h"

#define PRESET_number(preset)    preset, NULL
#define PRESET_core(preset)      preset, NULL
#define PRESET_cores(...)        0, NULL
#define PRESET_memory(preset)    preset, NULL
#define PRESET_choice(preset)    preset, NULL
#define PRESET_switch(preset)    preset, NULL
#define PRESET_flags(preset)     preset, NULL
#define PRESET_text(preset)      0, preset
#define PRESET_file(preset)      0, preset
#define PRESET_host(preset)      0, preset
#define PRESET_bytes(preset)     0, NULL
#define PRESET_net(preset)       0, NULL
#define PRESET_modules(preset)   0, NULL
#define PRESET_disks(preset)     0, NULL
#define PRESET_size(preset)      0, NULL
#define PRESET_peers(...)        0, NULL
#define PRESET_addresses(preset) 0, NULL
#define PRESET_address(preset)   0, "dhcp"
#define PRESET_gateway(preset)   0, NULL
#define PRESET_auth(preset)      0, NULL
#define PRESET_server(preset)    0, NULL
#define PRESET_card(preset)      0, NULL
