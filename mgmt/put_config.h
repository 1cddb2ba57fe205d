/* The configuration as JSON: members of an object, by the rows of hv/config_fields.def. */
#pragma once

#include "mgmt/config/config.h"
#include "mgmt/json.h"

/* All fields of a guest. `kind`: what its image was found to be; NULL: as configured. */
void put_guest_fields(struct json_out *j, const struct guest_config *g, const char *kind);
/* A region, within an object. */
void put_shared_fields(struct json_out *j, const struct config_shared *s);
/* Leaves out members whose value is the same as if they were absent. */
void put_management_fields(struct json_out *j, const struct management_config *m);
/* Those with neither parts nor a form of their own. */
void put_top_fields(struct json_out *j, const struct config *c);
/* "uplinks", if a card is named. */
void put_uplinks(struct json_out *j, const struct config *c);
/* An IPv4 address as a string; `tail` follows it. */
void put_ip(struct json_out *j, const char *name, const uint8_t ip[4], const char *tail);
/* The first `bytes` of an Ethernet address: "52:42:48:00:00". */
void put_mac(struct json_out *j, const char *name, const uint8_t *mac, size_t bytes);
