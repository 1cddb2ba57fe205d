#include "hv/flat.h"

#include "hv/job.h"
#include "hv/lib.h"

#define LOAD_MIN 0x100000ull /* below this a PC has areas without RAM */
#define GDT_AT   0x9f000ull
#define CODE     0x10u
#define DATA     0x18u
#define STEP     64u /* groups between two rests */

/* Flat 4 GB segments; the null selector, 0x08 and 0x10 are code, 0x18 is data. */
static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf9b000000ffff, 0x00cf93000000ffff};

/* Few instructions per word: this is a good part of the time to management's first instruction. */
uint64_t flat_checksum(const uint8_t *data, uint64_t size)
{
    uint64_t sum = 0, w[FLAT_GROUP / sizeof(sum)];

    for (uint64_t at = 0; at < size;) {
        uint64_t end = min_u64(size, at + STEP * FLAT_GROUP);

        for (; at < end; at += FLAT_GROUP) {
            memcpy(w, data + at, sizeof(w));
            sum = (sum << 1 | sum >> 63) + w[0] + w[1] + w[2] + w[3] + w[4] + w[5] + w[6] + w[7];
        }
        job_rest();
    }
    return sum;
}

static const char *header_fault(const struct flat_header *h, uint64_t follows, uint64_t memory)
{
    if (memcmp(h->magic, FLAT_MAGIC, sizeof(h->magic)) != 0)
        return "it does not begin as such an image does";
    if (h->file_size == 0 || h->file_size % FLAT_GROUP || h->file_size > follows)
        return "it is cut off";
    if (h->load < LOAD_MIN || h->load % PAGE_SIZE || h->memory_size < h->file_size)
        return "its addresses make no sense";
    if (h->load > memory || h->memory_size > memory - h->load)
        return "it needs more memory than the guest has";
    if (h->entry < h->load || h->entry - h->load >= h->file_size)
        return "its entry point lies outside of it";
    return NULL;
}

static void fill_in(const struct flat_header *h, struct load_plan *p)
{
    memset(&p->start, 0, sizeof(p->start));
    p->start.mode = LOAD_PROT32;
    p->start.cs = CODE;
    p->start.ds = DATA;
    p->start.rip = h->entry;
    p->start.gdt_base = GDT_AT;
    p->start.gdt_limit = sizeof(gdt) - 1;
    (void)str_copy(p->start.kind, sizeof(p->start.kind), "flat");
    memcpy(p->bytes, gdt, sizeof(gdt));
    p->byte_count = sizeof(gdt);
    p->piece_count = 2;
    p->pieces[0] = (struct load_piece){h->load, h->file_size, sizeof(*h), LOAD_FROM_IMAGE, 0};
    p->pieces[1] = (struct load_piece){GDT_AT, sizeof(gdt), 0, LOAD_FROM_BYTES, 0};
}

int flat_plan(const uint8_t *data, uint64_t size, uint64_t memory, struct load_plan *plan,
              const char **why)
{
    struct flat_header h;

    *why = "it is cut off";
    if (size < sizeof(h))
        return -E_FORMAT;
    memcpy(&h, data, sizeof(h));
    *why = header_fault(&h, size - sizeof(h), memory);
    if (*why)
        return -E_FORMAT;
    if (flat_checksum(data + sizeof(h), h.file_size) != h.checksum) {
        *why = "its checksum is wrong: the medium or the memory is damaged";
        return -E_FORMAT;
    }
    fill_in(&h, plan);
    return 0;
}
