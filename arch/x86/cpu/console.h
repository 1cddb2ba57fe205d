/* The host's console: COM1 and the screen. What hv/arch.h has of it is here. */
#pragma once

#include "hv/types.h"

/* Finds the serial port. Boot core, first thing. */
void uart_init(void);
void uart_write(const char *s, size_t n);

/* Text mode at 0xb8000. */
void screen_init_text(void);

struct screen_framebuffer {
    uint8_t *base;
    uint32_t pitch, width, height; /* pitch in bytes, the others in pixels */
    uint32_t bytes_per_pixel;      /* 3 or 4 */
};

/* A linear RGB framebuffer, mapped. What was written before is not shown again. */
void screen_init_framebuffer(const struct screen_framebuffer *f);
/* Into the buffer; screen_poll() shows it. A row that goes on in the next is indented there: what
 * begins a row begins a line. One core. */
void screen_write(const char *s, size_t n);
/* Draws a bounded part of what changed; false when all is shown. One core. */
bool screen_poll(void);
/* Draws all of it. */
void screen_flush(void);
