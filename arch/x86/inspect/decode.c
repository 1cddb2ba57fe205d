#include "arch/x86/inspect/decode.h"

#include "arch/x86/inspect/decode_format.h"
#include "arch/x86/inspect/decode_fields.h"
#include "hv/fmt.h"
#include "hv/lib.h"

#define TEXT_MAX 160

struct walk {
    const struct decode_format *format;
    uint64_t word;
    const struct decode_context *c;
    decode_emit emit;
    void *arg;
    unsigned count;
};

static uint64_t extract(uint64_t word, unsigned low, unsigned high)
{
    uint64_t v = word >> low;

    return high - low == 63 ? v : v & ((1ull << (high - low + 1)) - 1);
}

static void emit_part(struct walk *w, const struct decode_part *p)
{
    w->count++;
    if (w->emit)
        w->emit(w->arg, p);
}

/* Bits first..end-1 have no meaning: each run of ones is a piece; bits that are normally 1 are
 * separate from the others. */
static void walk_gap(struct walk *w, unsigned first, unsigned end)
{
    for (unsigned low = first; low < end && !w->format->loose;) {
        bool usual = w->format->ones >> low & 1;
        unsigned high = low;

        if (!(w->word >> low & 1)) {
            low++;
            continue;
        }
        while (high + 1 < end && (w->word >> (high + 1) & 1) &&
               (w->format->ones >> (high + 1) & 1) == usual)
            high++;
        emit_part(w, &(struct decode_part){
                         .high = (uint8_t)high,
                         .low = (uint8_t)low,
                         .value = extract(w->word, low, high),
                         .name = "RESERVED",
                         .title = "reserved",
                         .meaning = usual ? "reserved, 1 by default" : "reserved, should be 0",
                         .reserved = true,
                         .valid = true,
                     });
        low = high + 1;
    }
}

static bool is_valid(const struct decode_format *f, const struct decode_bit *b, uint64_t word)
{
    if (f->dead >> b->low & word >> f->dead_if & 1)
        return false;
    if (b->gate > 0)
        return word >> (b->gate - 1) & 1;
    if (b->gate < 0)
        return !(word >> (-b->gate - 1) & 1);
    return true;
}

static const char *meaning_of(const struct walk *w, const struct decode_bit *b, uint64_t value,
                              char *buf, size_t size)
{
    if (b->say)
        return b->say(&(struct decode_say){w->word, value, w->c, buf, size});
    if (b->clear && value)
        return w->format->set ? w->format->set : b->set;
    if (b->clear)
        return w->format->clear ? w->format->clear : b->clear;
    if (!b->values)
        return "";
    return value < b->value_count && b->values[value] ? b->values[value] : "reserved";
}

static void walk_bit(struct walk *w, const struct decode_bit *b)
{
    char buf[TEXT_MAX];
    struct decode_part p = {
        .high = b->high,
        .low = b->low,
        .value = extract(w->word, b->low, b->high),
        .name = b->name,
        .title = b->title,
        .either = b->either,
        .valid = is_valid(w->format, b, w->word),
    };

    p.meaning = p.valid ? meaning_of(w, b, p.value, buf, sizeof(buf)) : "not valid";
    emit_part(w, &p);
}

unsigned decode_format(const struct decode_format *f, uint64_t value,
                       const struct decode_context *c, decode_emit emit, void *arg)
{
    struct walk w = {.format = f, .word = value, .c = c, .emit = emit, .arg = arg};
    unsigned next = 0;

    for (unsigned i = 0; i < f->count; i++) {
        walk_gap(&w, next, f->bits[i].low);
        walk_bit(&w, &f->bits[i]);
        next = f->bits[i].high + 1u;
    }
    walk_gap(&w, next, 64);
    return w.count;
}

/* ---- one line ---- */

struct line {
    char *text;
    size_t size, len;
    bool prose;
};

static void add(struct line *l, const char *s)
{
    for (; *s; s++, l->len++)
        if (l->len + 1 < l->size)
            l->text[l->len] = *s;
}

static void add_number(struct line *l, uint64_t value)
{
    char number[24];

    (void)fmt(number, sizeof(number), value < 10 ? "%lu" : "0x%lx", (unsigned long)value);
    add(l, number);
}

static void add_reserved(struct line *l, const struct decode_part *p)
{
    char where[32];

    if (p->high == p->low)
        (void)fmt(where, sizeof(where), "reserved bit %u", p->low);
    else
        (void)fmt(where, sizeof(where), "reserved bits %u:%u", p->high, p->low);
    add(l, where);
}

static bool is_said(const struct line *l, const struct decode_part *p)
{
    if (!p->valid)
        return false;
    if (p->reserved)
        return strcmp(p->meaning, "reserved, 1 by default") != 0;
    return p->value || p->either || (l->prose && p->high != p->low);
}

static void line_emit(void *arg, const struct decode_part *p)
{
    struct line *l = arg;
    bool number = p->high != p->low;

    if (!is_said(l, p))
        return;
    if (l->len > 0)
        add(l, l->prose ? ", " : " | ");
    if (p->reserved) {
        add_reserved(l, p);
        return;
    }
    if (p->either) {
        add(l, p->meaning);
        return;
    }
    add(l, l->prose ? p->title : p->name);
    if (!number)
        return;

    add(l, " ");

    add_number(l, p->value);
    if (*p->meaning) {
        add(l, " (");
        add(l, p->meaning);
        add(l, ")");
    }
}

size_t decode_format_line(const struct decode_format *f, uint64_t value,
                          const struct decode_context *c, char *text, size_t size)
{
    struct line l = {.text = text, .size = size, .prose = f->prose};

    (void)decode_format(f, value, c, line_emit, &l);
    if (l.len == 0)
        add(&l, "none");
    if (size > 0)
        text[min_u64(l.len, size - 1)] = 0;
    return l.len;
}

/* ---- fields ---- */

static const struct decode_context no_context;

const struct decode_format *decode_find(uint32_t encoding, const struct decode_context *c)
{
    const struct decode_format *f = decode_controls(encoding);

    if (!f)
        f = decode_exit(encoding, c);
    if (!f)
        f = decode_guest_msr(encoding);
    if (!f)
        f = decode_cr(encoding, c);
    if (!f)
        f = decode_memory(encoding);
    return f ? f : decode_state(encoding);
}

unsigned vmcs_decode(uint32_t encoding, uint64_t value, const struct decode_context *c,
                     decode_emit emit, void *arg)
{
    const struct decode_format *f;

    if (!c)
        c = &no_context;
    f = decode_find(encoding, c);
    return f ? decode_format(f, value, c, emit, arg) : 0;
}

size_t vmcs_decode_line(uint32_t encoding, uint64_t value, const struct decode_context *c,
                        char *text, size_t size)
{
    const struct decode_format *f;

    if (!c)
        c = &no_context;
    if (size > 0)
        text[0] = 0;
    f = decode_find(encoding, c);
    return f ? decode_format_line(f, value, c, text, size) : 0;
}

static uint64_t value_of(const struct abi_vmcs *v, unsigned row)
{
    return vmcs_has(v, row) ? v->value[row] : 0;
}

struct decode_context decode_context_of(const struct abi_vmcs *v)
{
    return (struct decode_context){
        .exit_reason = (uint32_t)value_of(v, VMCS_ROW_EXIT_REASON),
        .exit_interruption_info = (uint32_t)value_of(v, VMCS_ROW_VM_EXIT_INTERRUPTION_INFO),
        .entry_interruption_info = (uint32_t)value_of(v, VMCS_ROW_VM_ENTRY_INTERRUPTION_INFO),
        .idt_vectoring_info = (uint32_t)value_of(v, VMCS_ROW_IDT_VECTORING_INFO),
        .guest_cr4 = value_of(v, VMCS_ROW_GUEST_CR4),
        .host_cr4 = value_of(v, VMCS_ROW_HOST_CR4),
    };
}
