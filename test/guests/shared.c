/*
 * Memory shared with one other guest, and doorbells, through the device in slot 24. Its command
 * line says what it does:
 *   call    (ID 0) examines the device, then sends the other many messages, and waits for answers;
 *   answer  (ID 1) checks them and answers, without end;
 *   plain   puts a text into the memory, and waits for another;
 *   storm   rings all of the peer's vectors and moves the memory about, without end.
 * "call" exits with the number of what was wrong.
 */
#include "hv/pc/ivshmem.h"
#include "hv/pc/pci_registers.h"
#include "test/guests/lib/apic.h"
#include "test/guests/lib/guest.h"

#define SLOT      24u
#define BAR2      (PCI_BAR + 8)
#define ELSEWHERE 0xd0000000u
#define ROUNDS    200u
#define WORDS     256u
#define VECTOR    0x50u
#define EOI       0xb0u
#define SVR       0xf0u
#define PAGE      4096u

/* What lies in the memory. */
struct shared {
    volatile uint32_t starts[2];    /* of each guest */
    volatile uint32_t ready;        /* "answer" can be interrupted */
    volatile uint32_t round, words; /* of the question and of its answer */
    volatile uint32_t question[WORDS], answer[WORDS];
    volatile char text[64];
    volatile uint32_t reply;
};

static volatile uint32_t *registers, *table;
static volatile uint32_t rung; /* bits: vectors */
static unsigned wrong;

static uint32_t config_read(unsigned at)
{
    outl(0xcf8, 0x80000000u | SLOT << 11 | at);
    return inl(0xcfc);
}

static void config_write(unsigned at, uint32_t value)
{
    outl(0xcf8, 0x80000000u | SLOT << 11 | at);
    outl(0xcfc, value);
}

static struct shared *memory(void)
{
    return (struct shared *)(uintptr_t)(config_read(BAR2) & ~0xfu); /* NOLINT: a BAR's address */
}

static void check(bool good, const char *what)
{
    if (!good)
        say("shared: WRONG: %s\n", what);
    wrong += !good;
}

void apic_interrupt(uint64_t vector)
{
    rung |= 1u << (vector - VECTOR);
    apic_write(EOI, 0);
}

static unsigned find_msix(void)
{
    unsigned at = config_read(PCI_CAPABILITIES) & 0xff;

    while (at && (config_read(at) & 0xff) != PCI_CAP_MSIX)
        at = config_read(at) >> 8 & 0xff;
    return at;
}

static void start(void)
{
    unsigned cap = find_msix(), vectors = (config_read(cap) >> 16 & 0x7ff) + 1;

    registers = (volatile uint32_t *)(uintptr_t)(config_read(PCI_BAR) & ~0xfu); /* NOLINT */
    table = (volatile uint32_t *)(uintptr_t)(config_read(PCI_BAR + 4) & ~0xfu); /* NOLINT */
    apic_vectors();
    apic_write(SVR, 0x1ff);
    for (unsigned i = 0; i < vectors; i++) {
        table[4 * i] = 0xfee00000;
        table[4 * i + 1] = 0;
        table[4 * i + 2] = VECTOR + i;
        table[4 * i + 3] = 0;
    }
    config_write(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    config_write(cap, 0x80000000);
}

static void ring(unsigned peer, unsigned vector)
{
    registers[IVSHMEM_DOORBELL / 4] = peer << 16 | vector;
}

static void wait_for(unsigned vector)
{
    while (!(rung >> vector & 1))
        sleep_until_irq();
    rung &= ~(1u << vector);
}

/* ---- call ---- */

static void examine(void)
{
    struct shared *here = memory();
    uint32_t at = config_read(BAR2), size;

    check(config_read(PCI_VENDOR) == 0x11101af4 && (config_read(PCI_REVISION) & 0xff) == 1,
          "identity");
    check((at & 0xf) == 0xc && config_read(BAR2 + 4) == 0, "a prefetchable BAR of 64 bits");
    check(registers[IVSHMEM_POSITION / 4] == 0, "ID");
    config_write(BAR2, UINT32_MAX);
    size = ~(config_read(BAR2) & ~0xfu) + 1;
    config_write(BAR2, at);
    check(size == 4u << 20, "size");
    here->text[0] = 'a';
    *((volatile char *)here + size - 1) = 'z';
    config_write(BAR2, ELSEWHERE);
    check(memory()->text[0] == 'a' && *((volatile char *)memory() + size - 1) == 'z',
          "contents after a move");
    check(here->text[0] == (char)0xff, "nothing is left where it was");
    memory()->text[0] = 'b';
    config_write(BAR2, 0x100000); /* over RAM: not decoded, and the RAM stays */
    check(*(volatile char *)(uintptr_t)ELSEWHERE == (char)0xff, "over RAM"); /* NOLINT */
    config_write(BAR2, at);
    check(here->text[0] == 'b', "back again");
    config_write(PCI_COMMAND, PCI_COMMAND_MASTER);
    check(here->text[0] == (char)0xff, "decoding off");
    config_write(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    check(here->text[0] == 'b', "decoding on");
    ring(0, 5); /* itself */
    wait_for(5);
    ring(1, 16); /* vectors and peers that do not exist */
    ring(7, 0);
    ring(0xffff, 0xffff);
}

/* Returns how long it took, from the doorbell to the answer's interrupt. */
static uint64_t ask(struct shared *m, uint32_t round, uint32_t words)
{
    uint64_t before, took;
    unsigned bad = 0;

    for (unsigned k = 0; k < words; k++)
        m->question[k] = round * 1000003 + k;
    m->round = round;
    m->words = words;
    before = tsc();
    ring(1, 2);
    wait_for(3);
    took = tsc() - before;
    for (unsigned k = 0; k < words; k++)
        bad += m->answer[k] != ~(round * 1000003 + k);
    check(bad == 0, "an answer");
    return took;
}

static void call(void)
{
    struct shared *m = memory();
    uint64_t best = UINT64_MAX;

    examine();
    while (!m->ready)
        __asm__ volatile("pause");
    for (unsigned i = 0; i < ROUNDS; i++)
        (void)ask(m, i, WORDS);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t took = ask(m, i, 1);

        best = took < best ? took : best;
    }
    say("shared: start %u: %u rounds, there and back in %lu ticks, %u wrong\n", m->starts[0],
        2 * ROUNDS, best, wrong);
    guest_exit(wrong);
}

static _Noreturn void answer(void)
{
    struct shared *m = memory();

    check(registers[IVSHMEM_POSITION / 4] == 1, "ID");
    say("shared: answers, start %u\n", m->starts[1]);
    m->ready = 1;
    for (;;) {
        wait_for(2);
        for (unsigned k = 0; k < m->words && k < WORDS; k++) {
            if (m->question[k] != m->round * 1000003 + k)
                say("shared: WRONG: a question\n");
            m->answer[k] = ~m->question[k];
        }
        ring(0, 3);
    }
}

/* ---- the others ---- */

static void tick(void)
{
}

static _Noreturn void plain(void)
{
    static const char text[] = "written by a neighbour\n";
    struct shared *m = memory();

    for (unsigned i = 0; i < sizeof(text); i++)
        ((volatile char *)m)[PAGE + i] = text[i];
    say("shared: written\n");
    irq_handle(IRQ_PIT, tick);
    pit_periodic(PIT_HZ / 20);
    while (!((volatile uint32_t *)m)[2 * PAGE / 4])
        sleep_until_irq();
    say("shared: found 0x%x\n", ((volatile uint32_t *)m)[2 * PAGE / 4]);
    guest_exit(0);
}

static _Noreturn void storm(void)
{
    unsigned other = !registers[IVSHMEM_POSITION / 4];
    uint32_t home = config_read(BAR2);

    say("shared: storm\n");
    for (unsigned n = 0;; n++) {
        ring(other, n % IVSHMEM_VECTORS);
        if (n % 64 == 0)
            config_write(BAR2, n % 128 ? home : ELSEWHERE);
    }
}

void guest_main(const char *cmdline)
{
    if (config_read(PCI_VENDOR) != 0x11101af4) {
        say("shared: no device\n");
        guest_exit(1);
    }
    if (strcmp(cmdline, "plain") == 0)
        plain();
    start();
    if (strcmp(cmdline, "storm") == 0)
        storm();
    memory()->starts[registers[IVSHMEM_POSITION / 4] & 1]++;
    if (strcmp(cmdline, "answer") == 0)
        answer();
    call();
}
