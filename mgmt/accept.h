/*
 * Which of our two forms of an answer a client prefers, by its Accept fields: RFC 9110, section
 * 12.5.1. Pure.
 */
#pragma once

#include "hv/types.h"

enum accept_form { ACCEPT_JSON, ACCEPT_TEXT, ACCEPT_FORMS };

struct accept {
    struct {
        uint16_t weight;     /* thousandths */
        uint8_t specificity; /* of the range that gave it: 0 none, 1 all types, 2 a type, 3 ours */
    } forms[ACCEPT_FORMS];
};

/* Takes the value of one Accept field. */
void accept_take(struct accept *a, const char *value);
/* Does the client prefer text? Among equals we prefer JSON; it is also what a client gets that
 * accepts neither. */
bool accept_is_text(const struct accept *a);
