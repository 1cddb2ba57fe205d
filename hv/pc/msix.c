#include "hv/pc/msix.h"

#include "hv/lib.h"
#include "hv/pc/pci_registers.h"

#define CONTROL        2u /* in the capability */
#define ENABLE         0x80u
#define FUNCTION_MASK  0x40u
#define CONTROL_HIGH   (CONTROL + 1) /* the byte that has these two */
#define PENDING        0x800u        /* of its part of the BAR; the table is at 0 */
#define ADDRESS        0u
#define ADDRESS_UPPER  1u
#define DATA           2u
#define VECTOR_CONTROL 3u
#define MASKED         1u

void msix_init(struct msix *m, struct pci_function *f, unsigned count, unsigned bar,
               uint32_t offset)
{
    const struct {
        uint16_t control;
        uint32_t table, pending;
    } __attribute__((packed))
    body = {(uint16_t)(count - 1), offset | bar, (offset + PENDING) | bar};

    m->count = count;
    m->cap = pci_add_capability(f, PCI_CAP_MSIX, &body, sizeof(body));
    f->writable[m->cap + CONTROL_HIGH] = ENABLE | FUNCTION_MASK;
}

void msix_reset(struct msix *m, struct pci_function *f)
{
    m->function = f;
    m->pending = 0;
    for (unsigned i = 0; i < m->count; i++)
        m->table[i] = (struct msix_entry){{0, 0, 0, MASKED}};
}

static uint8_t control(const struct msix *m)
{
    return m->cap ? m->function->config[m->cap + CONTROL_HIGH] : 0;
}

bool msix_is_enabled(const struct msix *m)
{
    return control(m) & ENABLE;
}

static bool is_masked(const struct msix *m, unsigned n)
{
    return (control(m) & FUNCTION_MASK) || (m->table[n].words[VECTOR_CONTROL] & MASKED);
}

/* A message is a write to memory, which only masters can make. */
static void send(struct msix *m, unsigned n)
{
    const struct pci *p = m->function->bus;
    const uint32_t *w = m->table[n].words;

    m->pending &= ~(1u << n);
    if (p->msi && pci_is_master(m->function))
        (void)!p->msi(p->irq.ctx, (uint64_t)w[ADDRESS_UPPER] << 32 | w[ADDRESS], w[DATA]);
}

void msix_send(struct msix *m, unsigned n)
{
    if (is_masked(m, n))
        m->pending |= 1u << n;
    else
        send(m, n);
}

/* Sends what is pending and no longer masked. */
static void send_pending(struct msix *m)
{
    for (unsigned i = 0; msix_is_enabled(m) && m->pending >> i; i++)
        if ((m->pending >> i & 1) && !is_masked(m, i))
            send(m, i);
}

void msix_written(struct msix *m)
{
    if (m->function->no_intx != msix_is_enabled(m)) {
        m->function->no_intx = msix_is_enabled(m);
        pci_update_intx(m->function);
    }
    send_pending(m);
}

/* Doublewords, and quadwords in halves; other widths read ones and write nothing. */
uint32_t msix_read(const struct msix *m, unsigned at, unsigned size)
{
    unsigned n = at / sizeof(struct msix_entry);

    if (size != 4 || at % 4)
        return io_ones(size);
    if (n < m->count)
        return m->table[n].words[at / 4 % 4];
    return at == PENDING ? m->pending : 0;
}

void msix_write(struct msix *m, unsigned at, unsigned size, uint32_t value)
{
    unsigned n = at / sizeof(struct msix_entry);

    if (size != 4 || at % 4 || n >= m->count)
        return;
    m->table[n].words[at / 4 % 4] = at / 4 % 4 == VECTOR_CONTROL ? value & MASKED : value;
    send_pending(m);
}
