/* SOURCES: arch/x86/inspect/decode.c arch/x86/inspect/decode_controls.c
 * arch/x86/inspect/decode_cr.c arch/x86/inspect/decode_event.c arch/x86/inspect/decode_exit.c
 * arch/x86/inspect/decode_guest_msr.c arch/x86/inspect/decode_instruction.c
 * arch/x86/inspect/decode_memory.c arch/x86/inspect/decode_msr.c arch/x86/inspect/decode_state.c
 * arch/x86/inspect/decode_vmcb.c arch/x86/inspect/decode_vmcb_exit.c
 * arch/x86/inspect/decode_vmcb_state.c arch/x86/inspect/vmcb_fields.c
 * arch/x86/inspect/decode_vmexit.c arch/x86/inspect/decode_bitmap.c arch/x86/inspect/fields.c
 * arch/x86/inspect/decode_fields.c arch/x86/inspect/names.c hv/fmt.c hv/lib.c */
/* Any field, value and context: every piece has a name and is in order, and no byte is written
 * beyond a line's buffer. Buffers are allocated with their exact size, so that ASan sees it. */
#include "arch/x86/inspect/decode.h"

#include "arch/x86/inspect/decode_bitmap.h"
#include "arch/x86/inspect/decode_vmcb.h"
#include "arch/x86/inspect/decode_fields.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint32_t encoding, msr;
    uint64_t value;
    struct decode_context context;
    uint16_t line;
    uint8_t known; /* 1: `encoding` is a row, 2: `msr` is a capability MSR */
};

struct walk {
    uint64_t word;
    unsigned count;
    int last;
    bool controls; /* the piece's value is not simply its bits */
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void piece(void *arg, const struct decode_part *p)
{
    struct walk *w = arg;
    unsigned width = p->high - p->low + 1u;
    uint64_t mask = width == 64 ? UINT64_MAX : (1ull << width) - 1;

    require(p->low <= p->high && p->high < 64 && p->low > w->last);
    require(p->name && *p->name && p->title && *p->title && p->meaning);
    require(p->high != p->low || *p->meaning);
    require(w->controls ? p->value < 4 : p->value == (w->word >> p->low & mask));
    require(strlen(p->meaning) < 200);
    w->last = p->high;
    w->count++;
}

static void check_line(size_t n, const char *text, size_t size)
{
    require(size == 0 || strlen(text) == (n < size ? n : size - 1));
}

static void range(void *arg, uint32_t first, uint32_t last)
{
    uint64_t *next = arg;

    require(first <= last && first >= *next);
    /* Runs are not adjacent: a bit of the other kind lies between them. */
    *next = (uint64_t)last + 2;
}

static void check_bitmap(const uint8_t *data, size_t size)
{
    uint32_t bits = (uint32_t)(size > 4096 ? 4096 : size) * 8;
    uint8_t *copy = malloc(bits / 8 + 1);
    uint64_t next = 100;
    unsigned ones, zeros;

    memcpy(copy, data, bits / 8);
    copy = realloc(copy, bits / 8 ? bits / 8 : 1);
    ones = bitmap_ranges(copy, 100, bits, true, range, &next);
    next = 100;
    zeros = bitmap_ranges(copy, 100, bits, false, range, &next);
    require(ones <= zeros + 1 && zeros <= ones + 1);
    free(copy);
}

/* Any VMCB, from its bytes, and any value in place of one of its fields. */
static void check_vmcb(const uint8_t *data, size_t size, const struct input *in, char *text,
                       size_t room)
{
    static uint8_t page[VMCB_SIZE];
    static struct abi_vmcs all;
    const struct abi_caps caps = {
        .svm_features = in->value, .svm_memory = in->msr, .svm_branches = in->encoding};
    unsigned row = in->encoding % VMCB_ROWS;
    struct walk w = {.word = in->value, .last = -1};

    memset(page, 0, sizeof(page));
    memcpy(page, data, size < sizeof(page) ? size : sizeof(page));
    vmcb_read_fields(page, &caps, &all);
    require(vmcb_decode(row, in->value, &all, piece, &w) == w.count);
    check_line(vmcb_decode_line(row, in->value, in->known & 4 ? &all : NULL, text, room), text,
               room);
    for (row = 0; row < VMCB_ROWS; row++) {
        w = (struct walk){.word = all.value[row], .last = -1};
        require(vmcb_decode(row, all.value[row], &all, piece, &w) == w.count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in;
    struct walk w = {.last = -1};
    char *text;
    size_t room;

    check_bitmap(data, size);
    memset(&in, 0, sizeof(in));
    memcpy(&in, data, size < sizeof(in) ? size : sizeof(in));
    if (in.known & 1)
        in.encoding = vmcs_field(in.encoding % VMCS_ROWS)->encoding;
    if (in.known & 2)
        in.msr = 0x480 + in.msr % 0x14;
    room = in.line % 600;
    text = malloc(room ? room : 1);

    w.word = in.value;
    require(vmcs_decode(in.encoding, in.value, &in.context, piece, &w) == w.count);
    check_line(vmcs_decode_line(in.encoding, in.value, &in.context, text, room), text, room);

    w = (struct walk){.word = in.value, .last = -1};
    w.controls = in.msr != 0x3a && in.msr != 0x480 && !(in.msr >= 0x485 && in.msr <= 0x48a) &&
                 in.msr != 0x48c;
    require(vmx_msr_decode(in.msr, in.value, piece, &w) == w.count);
    check_line(vmx_msr_decode_line(in.msr, in.value, text, room), text, room);
    require((vmx_msr_name(in.msr) != NULL) == (w.count > 0));
    check_vmcb(data, size, &in, text, room);
    require(*exception_name((unsigned)in.value & 31) && *vmx_abort_name((uint32_t)in.value));
    free(text);
    return 0;
}
