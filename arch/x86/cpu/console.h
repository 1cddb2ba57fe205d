/* The host's console: a serial port and the screen, behind the console functions of hv/arch.h. */
#pragma once

#include "arch/x86/cpu/acpi.h"
#include "hv/types.h"

/* Starts COM1, if there is one. Boot core, before anything else. */
void uart_init(void);
/* Goes over to the firmware's own console (SPCR); without that and without COM1, to the first UART
 * of DBG2, or on PCI. Boot core, when ACPI's tables are read. */
void uart_choose(const struct acpi_info *a);
void uart_write(const char *s, size_t n);

/* Text mode at 0xb8000. */
void screen_init_text(void);

struct screen_framebuffer {
    uint8_t *base;
    uint32_t pitch, width, height; /* pitch in bytes, the others in pixels */
    uint32_t bytes_per_pixel;      /* 3 or 4 */
};

/* A linear RGB framebuffer, mapped. Earlier text is not shown again. */
void screen_init_framebuffer(const struct screen_framebuffer *f);
/* Writes to the buffer; screen_poll() shows it. Continuation rows are indented, so text at the
 * start of a row starts a line. One core. */
void screen_write(const char *s, size_t n);
/* Draws a bounded part of the changes; false: all is shown. One core. */
bool screen_poll(void);
/* Draws all of it. */
void screen_flush(void);
