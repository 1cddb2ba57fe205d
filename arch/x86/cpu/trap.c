#include "arch/x86/cpu/trap.h"

#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/dump.h"
#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/regs.h"
#include "hv/panic.h"

#define FIRST_INTERRUPT 32u
#define VECTOR_COUNT    256u
/* Port 0x61 tells the source of an NMI on a PC. */
#define PORT_NMI_STATUS 0x61u
#define NMI_PARITY      (1u << 7)
#define NMI_IO_CHECK    (1u << 6)

struct fixup {
    uint64_t fault, resume;
};

extern const struct fixup trap_fixups[], trap_fixups_end[];
/* isr.asm calls this and trap_interrupt(). */
void trap_dispatch(struct trap_frame *f);

static struct {
    void (*handler)(void *ctx);
    void *ctx;
} handlers[VECTOR_COUNT];

void trap_set_handler(unsigned vector, void (*handler)(void *ctx), void *ctx)
{
    ASSERT(vector >= FIRST_INTERRUPT && vector < VECTOR_COUNT);
    handlers[vector].handler = handler;
    handlers[vector].ctx = ctx;
}

unsigned trap_new_vector(void (*handler)(void *ctx), void *ctx)
{
    static unsigned next = VECTOR_IRQ;

    if (next == VECTOR_IRQ_END)
        return 0;
    trap_set_handler(next, handler, ctx);
    return next++;
}

static bool fix_up(struct trap_frame *f)
{
    if (f->vector != TRAP_GENERAL && f->vector != TRAP_PAGE_FAULT)
        return false;
    for (const struct fixup *x = trap_fixups; (uintptr_t)x < (uintptr_t)trap_fixups_end; x++)
        if (x->fault == f->rip) {
            f->rip = x->resume;
            return true;
        }
    return false;
}

static bool nmis_expected;

void trap_expect_nmis(void)
{
    nmis_expected = true;
}

/* True: it means nothing. */
static bool handle_nmi(struct trap_frame *f)
{
    uint8_t status;

    if (dump_in_progress())
        dump_stop_self(f);
    status = inb(PORT_NMI_STATUS);
    if (nmis_expected && !(status & (NMI_PARITY | NMI_IO_CHECK)))
        return true;
    dump_frame(f, "NMI (%s)",
               status & NMI_PARITY     ? "memory parity or PCI system error"
               : status & NMI_IO_CHECK ? "I/O channel check"
                                       : "no reason given by the chipset");
    return false;
}

/* In Bochs the trap of a guest's single step comes to the host when the step has made the guest
 * exit to SVM's. It has nothing to do with what the host executes, where TF is never set. GS is the
 * guest's here. */
static bool is_guests_step(const struct trap_frame *f)
{
    if (f->vector != TRAP_DEBUG || !(read_dr6() & DR6_BS))
        return false;
    write_dr6(DR6_RESET);
    return true;
}

void trap_dispatch(struct trap_frame *f)
{
    if (fix_up(f) || is_guests_step(f))
        return;
    if (f->vector == TRAP_NMI && handle_nmi(f))
        return;
    dump_frame(f, "%s", dump_trap_name(f->vector));
}

void trap_interrupt(unsigned vector)
{
    if (handlers[vector].handler)
        handlers[vector].handler(handlers[vector].ctx);
    else if (vector == VECTOR_SPURIOUS || (vector & ~15u) == VECTOR_PIC)
        return; /* a spurious interrupt must not be acknowledged: it has no in-service bit */
    apic_eoi();
}
