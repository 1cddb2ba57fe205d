/* The one table format behind decode.h: a field's format is a list of pieces. Private to decode*.c.
 */
#pragma once

#include "arch/x86/inspect/decode.h"

struct decode_format {
    const struct decode_bit *bits; /* low bits first, without overlap */
    unsigned count;
    uint64_t ones;           /* undefined bits that are normally 1 */
    const char *clear, *set; /* not NULL: replace the senses of all single bits */
    uint64_t dead;           /* bits that mean nothing when bit `dead_if` is 1 */
    uint8_t dead_if;
    bool loose; /* the other bits are undefined, not reserved: nothing to say */
    bool prose; /* a line has titles and commas, not "A | B" */
};

#define DECODE_FORMAT(rows, ...)                                                                   \
    {                                                                                              \
        .bits = (rows), .count = ARRAY_LEN(rows), __VA_ARGS__                                      \
    }

#define BIT(n, NAME, TITLE, CLEAR, SET)                                                            \
    {                                                                                              \
        .high = (n), .low = (n), .name = (NAME), .title = (TITLE), .clear = (CLEAR), .set = (SET)  \
    }
#define BIT_IF(GATE, n, NAME, TITLE, CLEAR, SET)                                                   \
    {                                                                                              \
        .high = (n), .low = (n), .name = (NAME), .title = (TITLE), .clear = (CLEAR), .set = (SET), \
        GATE                                                                                       \
    }
/* A number. */
#define BITS(h, l, NAME, TITLE)                                                                    \
    {                                                                                              \
        .high = (h), .low = (l), .name = (NAME), .title = (TITLE)                                  \
    }
#define BITS_ONE_OF(h, l, NAME, TITLE, VALUES, ...)                                                \
    {                                                                                              \
        .high = (h), .low = (l), .name = (NAME), .title = (TITLE), .values = (VALUES),             \
        .value_count = ARRAY_LEN(VALUES), __VA_ARGS__                                              \
    }
/* One bit that selects one of two things, not on or off. */
#define BIT_EITHER(n, NAME, TITLE, CLEAR, SET) BIT_IF(.either = true, n, NAME, TITLE, CLEAR, SET)
#define BITS_SAY(h, l, NAME, TITLE, SAY, ...)                                                      \
    {                                                                                              \
        .high = (h), .low = (l), .name = (NAME), .title = (TITLE), .say = (SAY), __VA_ARGS__       \
    }
#define IF_SET(n)   .gate = (n) + 1
#define IF_CLEAR(n) .gate = -((n) + 1)

unsigned decode_format(const struct decode_format *f, uint64_t value,
                       const struct decode_context *c, decode_emit emit, void *arg);
size_t decode_format_line(const struct decode_format *f, uint64_t value,
                          const struct decode_context *c, char *text, size_t size);

/* Finds a field's format; NULL: none. `c` is not NULL. */
const struct decode_format *decode_find(uint32_t encoding, const struct decode_context *c);
const struct decode_format *decode_controls(uint32_t encoding); /* decode_controls.c */
/* The control word that a capability MSR describes; DECODE_NO_FIELD: none. */
#define DECODE_NO_FIELD UINT32_MAX
uint32_t decode_controls_of_msr(uint32_t msr);
const struct decode_format *decode_exit(uint32_t encoding, const struct decode_context *c);
const struct decode_format *decode_event(uint32_t encoding, const struct decode_context *c);
const struct decode_format *decode_instruction(uint32_t basic_exit_reason);
const struct decode_format *decode_state(uint32_t encoding);
const struct decode_format *decode_memory(uint32_t encoding);
const struct decode_format *decode_guest_msr(uint32_t encoding);
const struct decode_format *decode_cr(uint32_t encoding, const struct decode_context *c);

/* What more than one file needs. With other senses, the bits of CR0 and CR4 make the formats of the
 * masks, the shadows and the IA32_VMX_CR*_FIXED* MSRs. */
extern const struct decode_format decode_fixed_cr0[2], decode_fixed_cr4[2];
extern const char *const decode_memory_types[8];
extern const char *const decode_registers[16];
/* True if both are the same name of a control: "HLT exiting", "HLT_EXITING" and "hlt_exiting" are.
 */
bool decode_same_name(const char *a, const char *b);
/* The type of a segment, of access rights or attributes: bits 3:0 of the word, with S in bit 4. */
const char *decode_say_segment_type(const struct decode_say *s);
