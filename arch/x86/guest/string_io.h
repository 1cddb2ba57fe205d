/*
 * INS and OUTS, one element at a time, for a guest whose string I/O exits. The CPU has checked the
 * port permission by then; we check segment, address and page (SDM 3C "Relative Priority of Faults
 * and VM Exits"; SDM 2A INS, SDM 2B OUTS). Pure; the caller decides how many elements there is time
 * for.
 */
#pragma once

#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/segment.h"
#include "hv/pc/bus.h"
#include "hv/gmem.h"
#include "hv/types.h"

struct string_io {
    uint16_t port;
    unsigned size; /* bytes an element: 1, 2 or 4 */
    bool in, rep, down;
    unsigned address_bytes; /* 2, 4 or 8 */
    enum segment_id segment_id;
    enum segment_mode mode;
    struct segment segment;
    struct paging paging;
    const struct gmem *mem;
    const struct io_bus *bus;
    /* The page of the last element: its number and its host address; NULL: none yet. May be cached
     * like a TLB entry: a guest that changes a translation in between has not flushed its TLB. */
    uint64_t page;
    uint8_t *at;
    uint64_t linear; /* of the last element */
};

enum string_io_result {
    STRING_IO_MORE,   /* an element is done, another one follows */
    STRING_IO_DONE,   /* the instruction is done */
    STRING_IO_FAULT,  /* *f is the guest's; nothing was done */
    STRING_IO_OUTSIDE /* f->address is guest-physical and not in its memory; nothing was done */
};

/* `index`: RSI or RDI; `count`: RCX, used with `rep`. Both are advanced as the CPU does. */
enum string_io_result string_io_element(struct string_io *s, uint64_t *index, uint64_t *count,
                                        struct guest_fault *f);

/* Ends an element that was done in another way: advances both, and returns MORE or DONE. */
enum string_io_result string_io_advance(const struct string_io *s, uint64_t *index,
                                        uint64_t *count);

/* For a CPU that reports only the first element's linear address of an OUTS, not its segment: the
 * first of DS, ES, SS, CS, FS and GS whose base fits. `segments` is indexed by enum segment_id. */
enum segment_id string_io_segment(const struct segment segments[6], uint64_t index_offset,
                                  uint64_t linear);
