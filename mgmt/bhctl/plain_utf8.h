/* Untrusted text for a terminal that shows UTF-8: nothing in it changes the writing direction.
 * Unicode 15 chapter 23 "Special Areas and Format Characters". Pure. */
#pragma once

#include "hv/plain.h"

/* For plain_feed(): characters as they are; U+FFFD for what is none, and for those that are
 * invisible or change how others look. */
size_t plain_utf8(const struct plain *p, uint32_t c, char *out);
