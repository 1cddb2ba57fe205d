/* The configuration as JSON: members of an object, by the rows of hv/config_fields.def. */
#pragma once

#include "hv/config.h"
#include "mgmt/json.h"

/* All of a guest's. `kind`: what its image was found to be; NULL: as configured. */
void put_guest_fields(struct json_out *j, const struct guest_config *g, const char *kind);
/* What is as if it were not there is left out. */
void put_management_fields(struct json_out *j, const struct management_config *m);
