#include "arch/x86/inspect/decode_format.h"

#include "arch/x86/inspect/fields.h"
#include "hv/fmt.h"
#include "hv/lib.h"

/* Pointers with flags in their low bits, and the bitmaps that are fields themselves. SDM 3C
 * "Extended-Page-Table Pointer (EPTP)" and the sections with the fields' names. */

const char *const decode_memory_types[8] = {
    [0] = "UC, uncacheable",     [1] = "WC, write-combining", [4] = "WT, write-through",
    [5] = "WP, write-protected", [6] = "WB, write-back",
};

static const char *const eptp_types[8] = {[0] = "UC, uncacheable", [6] = "WB, write-back"};
static const char *const walks[8] = {[3] = "4 levels", [4] = "5 levels"};

static const struct decode_bit eptp_bits[] = {
    BITS_ONE_OF(2, 0, "MEMORY_TYPE", "EPT paging-structure memory type", eptp_types),
    BITS_ONE_OF(5, 3, "WALK_LENGTH", "EPT page-walk length minus 1", walks),
    BIT(6, "ACCESSED_DIRTY", "accessed and dirty flags for EPT",
        "EPT has no accessed and dirty flags", "EPT has accessed and dirty flags"),
    BIT(7, "SUPERVISOR_SHADOW_STACK", "supervisor shadow-stack control",
        "supervisor shadow-stack pages are not enforced",
        "supervisor shadow-stack pages are enforced"),
    BITS(51, 12, "PML4", "page frame of the EPT root table"),
};
static const struct decode_bit hlat_bits[] = {
    BIT(3, "PWT", "page-level write-through", "write-back", "write-through"),
    BIT(4, "PCD", "page-level cache disable", "cached", "not cached"),
    BITS(51, 12, "FRAME", "page frame of the HLAT root table"),
};
static const struct decode_bit pdpte_bits[] = {
    BIT(0, "P", "present", "not present: the other bits are ignored", "present"),
    BIT_IF(IF_SET(0), 3, "PWT", "page-level write-through", "write-back", "write-through"),
    BIT_IF(IF_SET(0), 4, "PCD", "page-level cache disable", "cached", "not cached"),
    {.high = 51,
     .low = 12,
     .name = "FRAME",
     .title = "page frame of the page directory",
     IF_SET(0)},
};
static const struct decode_format eptp = DECODE_FORMAT(eptp_bits, .prose = true);
static const struct decode_format hlat = DECODE_FORMAT(hlat_bits, .prose = true);
static const struct decode_format pdpte = DECODE_FORMAT(pdpte_bits, .prose = true);

/* ---- EOI-exit bitmap: 64 vectors per field ---- */

static const char *say_eoi(const struct decode_say *s, unsigned base)
{
    size_t len = 0;

    if (s->value == 0)
        return "no EOI of these vectors exits";
    s->buf[0] = 0;
    for (unsigned first = 0; first < 64; first++) {
        unsigned last = first;

        if (!(s->value >> first & 1))
            continue;
        while (last < 63 && (s->value >> (last + 1) & 1))
            last++;
        /* Alternating vectors do not fit: the reader also has the value. */
        if (len + 16 > s->size) {
            (void)fmt(s->buf + len, s->size - len, ", ...");
            break;
        }
        len += fmt(s->buf + len, s->size - len, first == last ? "%s0x%x" : "%s0x%x-0x%x",
                   len ? ", " : "", base + first, base + last);
        first = last;
    }
    return s->buf;
}

static const char *say_eoi_0(const struct decode_say *s)
{
    return say_eoi(s, 0);
}

static const char *say_eoi_1(const struct decode_say *s)
{
    return say_eoi(s, 64);
}

static const char *say_eoi_2(const struct decode_say *s)
{
    return say_eoi(s, 128);
}

static const char *say_eoi_3(const struct decode_say *s)
{
    return say_eoi(s, 192);
}

#define EOI_TITLE "EOI exits for the vectors"
static const struct decode_bit eoi_bits[4][1] = {
    {BITS_SAY(63, 0, "EOI_EXIT", EOI_TITLE, say_eoi_0)},
    {BITS_SAY(63, 0, "EOI_EXIT", EOI_TITLE, say_eoi_1)},
    {BITS_SAY(63, 0, "EOI_EXIT", EOI_TITLE, say_eoi_2)},
    {BITS_SAY(63, 0, "EOI_EXIT", EOI_TITLE, say_eoi_3)},
};
static const struct decode_format eoi[4] = {
    DECODE_FORMAT(eoi_bits[0], .prose = true),
    DECODE_FORMAT(eoi_bits[1], .prose = true),
    DECODE_FORMAT(eoi_bits[2], .prose = true),
    DECODE_FORMAT(eoi_bits[3], .prose = true),
};

/* ---- bitmaps of instruction leaves and state components ---- */

#define LEAF(n, NAME) BIT(n, NAME, NAME, "the leaf does not exit", "the leaf exits")
#define STATE(n, NAME, TITLE)                                                                      \
    BIT(n, NAME, TITLE, "XSAVES and XRSTORS of it do not exit",                                    \
        "XSAVES and XRSTORS of it exit (when IA32_XSS and EDX:EAX have the bit, too)")

static const struct decode_bit encls_bits[] = {
    LEAF(0, "ECREATE"),          LEAF(1, "EADD"),     LEAF(2, "EINIT"),
    LEAF(3, "EREMOVE"),          LEAF(4, "EDBGRD"),   LEAF(5, "EDBGWR"),
    LEAF(6, "EEXTEND"),          LEAF(7, "ELDB"),     LEAF(8, "ELDU"),
    LEAF(9, "EBLOCK"),           LEAF(10, "EPA"),     LEAF(11, "EWB"),
    LEAF(12, "ETRACK"),          LEAF(13, "EAUG"),    LEAF(14, "EMODPR"),
    LEAF(15, "EMODT"),           LEAF(16, "ERDINFO"), LEAF(17, "ETRACKC"),
    LEAF(18, "ELDBC"),           LEAF(19, "ELDUC"),   LEAF(24, "EUPDATESVN"),
    LEAF(63, "LEAVES_ABOVE_62"),
};
static const struct decode_bit enclv_bits[] = {
    LEAF(0, "EDECVIRTCHILD"),
    LEAF(1, "EINCVIRTCHILD"),
    LEAF(2, "ESETCONTEXT"),
    LEAF(63, "LEAVES_ABOVE_62"),
};
static const struct decode_bit pconfig_bits[] = {
    LEAF(0, "MKTME_KEY_PROGRAM"),
    LEAF(1, "TSE_KEY_PROGRAM"),
    LEAF(2, "TSE_KEY_PROGRAM_WRAPPED"),
    LEAF(63, "LEAVES_ABOVE_62"),
};
static const struct decode_bit xss_bits[] = {
    STATE(8, "PT", "Intel PT state"),     STATE(10, "PASID", "PASID state"),
    STATE(11, "CET_U", "CET user state"), STATE(12, "CET_S", "CET supervisor state"),
    STATE(13, "HDC", "HDC state"),        STATE(14, "UINTR", "user-interrupt state"),
    STATE(15, "LBR", "LBR state"),        STATE(16, "HWP", "HWP state"),
};
static const struct decode_format encls = DECODE_FORMAT(encls_bits, .ones = 0);
static const struct decode_format enclv = DECODE_FORMAT(enclv_bits, .ones = 0);
static const struct decode_format pconfig = DECODE_FORMAT(pconfig_bits, .ones = 0);
static const struct decode_format xss = DECODE_FORMAT(xss_bits, .ones = 0);

const struct decode_format *decode_memory(uint32_t encoding)
{
    switch (encoding) {
    case VMCS_EPT_POINTER:
        return &eptp;
    case VMCS_HLAT_POINTER:
        return &hlat;
    case VMCS_GUEST_PDPTE0:
    case VMCS_GUEST_PDPTE1:
    case VMCS_GUEST_PDPTE2:
    case VMCS_GUEST_PDPTE3:
        return &pdpte;
    case VMCS_EOI_EXIT_BITMAP_0:
        return &eoi[0];
    case VMCS_EOI_EXIT_BITMAP_1:
        return &eoi[1];
    case VMCS_EOI_EXIT_BITMAP_2:
        return &eoi[2];
    case VMCS_EOI_EXIT_BITMAP_3:
        return &eoi[3];
    case VMCS_XSS_EXITING_BITMAP:
        return &xss;
    case VMCS_ENCLS_EXITING_BITMAP:
        return &encls;
    case VMCS_ENCLV_EXITING_BITMAP:
        return &enclv;
    case VMCS_PCONFIG_EXITING_BITMAP:
        return &pconfig;
    default:
        return NULL;
    }
}
