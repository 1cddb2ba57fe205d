/*
 * Guest loaders: from the bytes of an image to a filled guest memory and the registers to start
 * with. Pure; the image is hostile: every offset, size and address is checked before use, and what
 * is refused is refused with a reason.
 */
#pragma once

#include "hv/gmem.h"
#include "hv/types.h"

#define LOAD_MODULES_MAX 8

struct load_blob {
    const uint8_t *data;
    size_t size;
    const char *args; /* NUL-terminated; the module's command line */
};

struct load_request {
    struct load_blob image; /* args = the kernel command line */
    struct load_blob modules[LOAD_MODULES_MAX];
    unsigned module_count;
    uint64_t tsc_hz; /* for loaders that hand it over */
    /* Where set: takes the copies of any size on itself, for later (the target is checked); a
     * negative result refuses. Small structures are written at once. */
    int (*copy)(void *ctx, uint8_t *to, const uint8_t *from, uint64_t size);
    void *copy_ctx;
};

/* The state in which the first instruction runs. Paging is off in LOAD_PROT32; LOAD_REAL16 is cs:ip
 * = 0:entry with segments 0. */
enum load_mode { LOAD_REAL16, LOAD_PROT32 };

struct load_result {
    enum load_mode mode;
    uint64_t rip, rsp;
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
    uint64_t gdt_base; /* PROT32: a GDT placed in guest memory: 0x08 code, 0x10 code (Linux's
                          __BOOT_CS), 0x18 data (__BOOT_DS), flat */
    uint16_t gdt_limit;
    uint16_t cs, ds;
    const char *kind; /* "multiboot1", "multiboot2", "linux", "flat" */
};

struct load_error {
    char text[160]; /* "ELF segment 2: file range 0x1000+0x9000 ends after the image (0x8000 bytes)"
                     */
};

/* What a guest is told of its memory: usable [0, 0x9f000) and [1 MB, size); [0x9f000, 1 MB)
 * reserved. */
#define LOAD_LOW_END    0x9f000u

/* Below this a guest cannot be loaded: the first megabyte is mostly reserved. */
#define LOAD_MEMORY_MIN PAGE_SIZE_2M

/* Recognises the kind (multiboot2 header, multiboot1 header, bzImage, ELF without one is refused,
 * flat binary: anything at most 512 KB that starts with no known magic) and loads it. Guest memory
 * is zero on entry; on error its content does not matter. 0 or -E_FORMAT, -E_NOSPC, -E_NOTSUP,
 * -E_INVAL (the request itself) with *e filled. */
int load_guest(const struct load_request *r, const struct gmem *m, struct load_result *out,
               struct load_error *e) MUST_CHECK;
