#include "test/guests/lib/guest.h"
#include "arch/x86/cpu/cpuid.h"

#define MB2_TAG_CMDLINE 1u
#define MB2_TAG_MODULE  3u

struct guest_frame irq_frame;
static void (*irq_handlers[16])(void);
static void (*exception_handlers[PC_EXCEPTIONS])(struct guest_frame *f);

/* The stack protector is off for guests; panics of shared code end here. */
void put_byte(uint8_t c)
{
    while (!(inb(UART + UART_LSR) & UART_THR_EMPTY))
        ;
    outb(UART, c);
}

void say(const char *format, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, format);
    (void)fmt_v(line, sizeof(line), format, ap);
    va_end(ap);
    for (const char *s = line; *s; s++) {
        if (*s == '\n')
            put_byte('\r');
        put_byte((uint8_t)*s);
    }
}

_Noreturn void guest_exit(uint32_t code)
{
    outl(EXIT_PORT, code);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void guest_interrupt(uint64_t vector, struct guest_frame *f)
{
    unsigned irq = (unsigned)vector - PC_EXCEPTIONS;

    if (vector < PC_EXCEPTIONS) {
        if (exception_handlers[vector]) {
            exception_handlers[vector](f);
            return;
        }
        say("exception %lu (error 0x%lx) at 0x%lx\n", vector, f->error, f->rip);
        guest_exit(100 + (uint32_t)vector);
    }
    irq_frame = *f;
    if (irq_handlers[irq])
        irq_handlers[irq]();
    pc_eoi(irq);
}

void irq_handle(unsigned irq, void (*handler)(void))
{
    irq_handlers[irq] = handler;
    pc_unmask(irq);
}

void exception_handle(unsigned vector, void (*handler)(struct guest_frame *f))
{
    exception_handlers[vector] = handler;
}

void pit_periodic(uint16_t count)
{
    outb(0x43, 0x34);
    outb(0x40, (uint8_t)count);
    outb(0x40, (uint8_t)(count >> 8));
}

void pit_once(uint16_t count)
{
    outb(0x43, 0x30);
    outb(0x40, (uint8_t)count);
    outb(0x40, (uint8_t)(count >> 8));
}

uint64_t tsc_hz(void)
{
    struct cpuid_regs r = cpuid(0x15, 0);

    return r.eax ? (uint64_t)r.ecx * r.ebx / r.eax : 0;
}

static const uint8_t *boot_info;

/* The first tag of this type, or NULL. */
static const uint8_t *find_tag(uint32_t wanted)
{
    uint32_t total, at = 8;

    if (!boot_info)
        return NULL; /* there is none in place of the management guest */
    memcpy(&total, boot_info, sizeof(total));
    while (at + 8 <= total) {
        uint32_t type, size;

        memcpy(&type, boot_info + at, sizeof(type));
        memcpy(&size, boot_info + at + 4, sizeof(size));
        if (type == wanted)
            return boot_info + at;
        if (type == 0 || size < 8)
            break;
        at += (size + 7) & ~7u;
    }
    return NULL;
}

const struct pvh_info *guest_pvh_info(void)
{
    const struct pvh_info *info = (const void *)boot_info;

    return info && info->magic == PVH_MAGIC ? info : NULL;
}

static const char *find_cmdline(void)
{
    const struct pvh_info *pvh = guest_pvh_info();
    const uint8_t *tag = pvh ? NULL : find_tag(MB2_TAG_CMDLINE);

    if (pvh)
        return (const char *)(uintptr_t)pvh->cmdline;

    return tag ? (const char *)tag + 8 : "";
}

const uint8_t *guest_module(uint32_t *size)
{
    const struct pvh_info *pvh = guest_pvh_info();
    const uint8_t *tag = pvh ? NULL : find_tag(MB2_TAG_MODULE);
    uint32_t start, end;

    if (pvh && pvh->module_count) {
        const struct pvh_module *m = (const void *)(uintptr_t)pvh->modules;

        *size = (uint32_t)m->size;
        return (const uint8_t *)(uintptr_t)m->start;
    }
    if (!tag)
        return NULL;
    memcpy(&start, tag + 8, sizeof(start));
    memcpy(&end, tag + 12, sizeof(end));
    *size = end - start;
    return (const uint8_t *)(uintptr_t)start;
}

void guest_run(const uint8_t *info)
{
    boot_info = info;
    pc_start();
    outb(UART + UART_FCR, 0x07); /* FIFOs on and empty */
    outb(UART + UART_MCR, 0x0b); /* DTR, RTS, OUT2 */
    guest_main(find_cmdline());
    guest_exit(0);
}
