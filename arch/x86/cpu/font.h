/* A plain font of our own: 5 by 7 dots in a cell of 8 by 16. Pure. */
#pragma once

#include "hv/types.h"

/* One of the 16 rows of a character's cell; bit 7 is the leftmost dot. Characters without a glyph
 * show as a box. */
uint8_t font_row(uint8_t c, unsigned row);
