/*
 * INS and OUTS, one element at a time: what the hypervisor has to do for a guest whose string I/O
 * exits. The CPU has checked the right to the port by then; segment, address and page are left to
 * us (SDM 3C "Relative Priority of Faults and VM Exits"; SDM 2A INS, SDM 2B OUTS). Pure; whoever
 * calls decides how many elements there is time for.
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
    /* The last page that an element was on: its number and where it is; NULL: none yet. Guests
     * that change a translation meanwhile have not told the TLB. */
    uint64_t page;
    uint8_t *at;
};

enum string_io_result {
    STRING_IO_MORE,   /* an element is done, another one follows */
    STRING_IO_DONE,   /* the instruction is done */
    STRING_IO_FAULT,  /* *f is the guest's; nothing was done */
    STRING_IO_OUTSIDE /* f->address is guest-physical and not in its memory; nothing was done */
};

/* `index`: RSI or RDI; `count`: RCX, of meaning with `rep`. They are moved on as the CPU does. */
enum string_io_result string_io_element(struct string_io *s, uint64_t *index, uint64_t *count,
                                        struct guest_fault *f);

/* For a CPU that does not tell the segment of OUTS, only the first element's linear address: the
 * register of DS, ES, SS, CS, FS and GS whose base fits. `segments` are by enum segment_id. */
enum segment_id string_io_segment(const struct segment segments[6], uint64_t index_offset,
                                  uint64_t linear);
