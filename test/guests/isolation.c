/*
 * Tries to get out. The command line says how: "ports" (every port in every width), "some-ports"
 * (a tenth of them, among these all that devices may have), "msrs" (the architectural ranges),
 * "virtualization" (the instructions and MSRs of VT-x and AMD-V, which no guest has), "calls" (what
 * only the management guest may ask for), "canary" (watches its own memory), or "ask": then it is
 * typed. One access outside of its memory ends a guest, so one life tries one address: "read
 * 0xADDRESS" and the like, see `ways`.
 */
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "hv/abi/call.h"
#include "test/guests/lib/guest.h"

#define WINDOW      0x140000000ull /* linear address that maps the physical ones under test */
#define WINDOW_SLOT 5u             /* its entry in the page-directory-pointer table */
#define HALF_PAGE   0x800u
#define PAGE_2M     0x200000ull
#define PAGE_LARGE  0x83ull /* present, writable, 2 MB */
#define PAGE_TABLE  3ull
#define ADDRESS     0x000ffffffffff000ull
#define LINE        64u
#define IO_UNOWNED  0x1000u /* no device has a port from here on */
#define SOME_STEP   17u
static uint64_t parse_hex(const char *s)
{
    uint64_t v = 0;

    if (s[0] == '0' && s[1] == 'x')
        s += 2;
    for (;; s++) {
        if (*s >= '0' && *s <= '9')
            v = v * 16 + (uint64_t)(*s - '0');
        else if (*s >= 'a' && *s <= 'f')
            v = v * 16 + (uint64_t)(*s - 'a' + 10);
        else
            return v;
    }
}

static uint64_t window_pd[512] __attribute__((aligned(4096)));

/* Maps a physical address; returns where it can be reached. */
static uint8_t *window(uint64_t physical)
{
    uint64_t cr3 = read_cr3(), *pml4, *pdpt;

    pml4 = (uint64_t *)(uintptr_t)(cr3 & ADDRESS);
    pdpt = (uint64_t *)(uintptr_t)(pml4[0] & ADDRESS);
    window_pd[0] = (physical & ~(PAGE_2M - 1)) | PAGE_LARGE;
    pdpt[WINDOW_SLOT] = (uintptr_t)window_pd | PAGE_TABLE;
    write_cr3(cr3);
    return (uint8_t *)(uintptr_t)(WINDOW + (physical & (PAGE_2M - 1)));
}

/* ---- ways to reach an address ---- */

static void try_read(uint64_t a)
{
    (void)*(volatile uint32_t *)(void *)window(a);
}

static void try_write(uint64_t a)
{
    *(volatile uint32_t *)(void *)window(a) = 0xdeadbeef;
}

static void try_locked(uint64_t a)
{
    (void)__atomic_fetch_add((uint32_t *)(void *)window(a), 1, __ATOMIC_SEQ_CST);
}

static void try_execute(uint64_t a)
{
    __asm__ volatile("call *%0" ::"r"(window(a)) : "memory");
}

/* For these two the hypervisor moves the bytes. */
static void try_ins(uint64_t a)
{
    uint8_t *p = window(a);

    __asm__ volatile("insb" : "+D"(p) : "d"((uint16_t)0x80) : "memory");
}

static void try_outs(uint64_t a)
{
    uint8_t *p = window(a);

    __asm__ volatile("outsb" : "+S"(p) : "d"((uint16_t)0x80) : "memory");
}

/* Page tables outside the guest's memory. */
static void try_walk(uint64_t a)
{
    write_cr3(a & ADDRESS);
}

/* Exits during the delivery of an exception: its gate, then its frame, is outside memory. */
static void try_gate(uint64_t a)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idt = {0xfff, (uintptr_t)window(a)};

    __asm__ volatile("lidt %0; ud2" ::"m"(idt));
}

static void try_stack(uint64_t a)
{
    __asm__ volatile("mov %0, %%rsp; ud2" ::"r"(window(a) + HALF_PAGE));
}

/* Ports by which a guest ends itself: port and value in one number. */
static void try_out(uint64_t a)
{
    outb((uint16_t)(a >> 8), (uint8_t)a);
}

static const struct {
    const char *name;
    void (*run)(uint64_t a);
} ways[] = {
    {"read", try_read},   {"write", try_write}, {"locked", try_locked}, {"execute", try_execute},
    {"ins", try_ins},     {"outs", try_outs},   {"walk", try_walk},     {"gate", try_gate},
    {"stack", try_stack}, {"out", try_out},
};

static volatile char line[LINE];
static volatile uint32_t typed;
static volatile bool complete;

static void on_uart(void)
{
    while (inb(UART + UART_LSR) & UART_DATA_READY) {
        char c = (char)inb(UART);

        if (c == '\r')
            complete = true;
        else if (!complete && typed < LINE - 1)
            line[typed++] = c;
    }
}

static void ask(void)
{
    char command[LINE];

    irq_handle(IRQ_UART, on_uart);
    outb(UART + 1, 1);
    say("isolation: where?\n");
    while (!complete)
        sleep_until_irq();
    for (uint32_t i = 0; i < LINE; i++)
        command[i] = line[i];
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        size_t n = strlen(ways[i].name);

        if (strncmp(command, ways[i].name, n) == 0 && command[n] == ' ') {
            ways[i].run(parse_hex(command + n + 1));
            say("isolation: ESCAPED, %s\n", command);
            guest_exit(1);
        }
    }
    say("isolation: what? \"%s\"\n", command);
    guest_exit(2);
}

/* ---- all ports ---- */

/* Reset and exit ports would end the guest, and the UART is needed for the result. A wider access
 * also reaches the ports after its first one. */
static bool is_spared(unsigned port, unsigned size)
{
    static const uint16_t spared[] = {0x64, 0xcf9, 0xf4, UART};

    for (unsigned i = 0; i < sizeof(spared) / sizeof(spared[0]); i++)
        if (port <= spared[i] && spared[i] < port + size)
            return true;
    return false;
}

/* An unclaimed port reads all ones, whatever was written to it, with every kind of access. */
static bool all_ones(uint16_t port)
{
    uint32_t value = 0;
    void *at = &value;

    if (inb(port) != 0xff || inw(port) != 0xffff || inl(port) != 0xffffffff)
        return false;
    __asm__ volatile("insl" : "+D"(at) : "d"(port) : "memory");
    return value == 0xffffffff;
}

/* Those that devices may have; of the others every one, or fewer. */
static void try_each_port(unsigned step)
{
    uint32_t answered = 0, wrong = 0;

    for (unsigned port = 0; port < 0x10000; port += port < IO_UNOWNED ? 1 : step) {
        uint8_t v = inb((uint16_t)port);

        if (v != 0xff)
            answered++;
        (void)inw((uint16_t)port);
        (void)inl((uint16_t)port);
        if (!is_spared(port, 1))
            outb((uint16_t)port, 0x5a);
        if (!is_spared(port, 2))
            outw((uint16_t)port, 0x5a5a);
        if (!is_spared(port, 4))
            outl((uint16_t)port, 0x5a5a5a5a);
        if (port >= IO_UNOWNED && !all_ones((uint16_t)port))
            wrong++;
    }
    /* Restores the UART after writes to it: 8 bits, no loop-back. */
    outb(UART + 3, 3);
    outb(UART + 4, 0x0b);
    say("isolation: ports done, %u answered, %u wrong\n", answered, wrong);
}

static void try_ports(void)
{
    try_each_port(1);
}

static void try_some_ports(void)
{
    try_each_port(SOME_STEP);
}

/* ---- MSRs ---- */

static volatile uint32_t faults;
static volatile uint32_t on_gp_length = 2; /* of RDMSR and WRMSR */

static void on_gp(struct guest_frame *f)
{
    faults++;
    f->rip += on_gp_length;
}

static void try_msrs(void)
{
    exception_handle(13, on_gp);
    for (uint32_t msr = 0; msr < 0x2000; msr++) {
        (void)rdmsr(msr);
        (void)rdmsr(0xc0000000 + msr);
        (void)rdmsr(0x40000000 + msr);
    }
    wrmsr(MSR_IA32_FEATURE_CONTROL, 0);
    wrmsr(MSR_IA32_APIC_BASE, 0); /* off */
    say("isolation: msrs done, %u faults\n", faults);
}

/* ---- what VT-x and AMD-V have, on CPUs of both vendors ---- */

#define MSR_VM_CR      0xc0010114u
#define MSR_SVM_LAST   0xc0010118u /* IGNNE, SMM_CTL, VM_HSAVE_PA and SVM_KEY are between them */
#define MSR_VMX_BASIC  0x480u
#define MSR_VMX_VMFUNC 0x491u
#define EFER_SVME      (1ull << 12)
#define CR4_VMXE       (1ull << 13)
#define CPUID_VMX      (1u << 5) /* leaf 1, ECX */
#define CPUID_SVM      (1u << 2) /* leaf 80000001, ECX */
#define CODE_BYTES     6u

static const struct {
    const char *name;
    uint8_t length, bytes[CODE_BYTES];
} virtualization[] = {
    {"VMRUN", 3, {0x0f, 0x01, 0xd8}},
    {"VMLOAD", 3, {0x0f, 0x01, 0xda}},
    {"VMSAVE", 3, {0x0f, 0x01, 0xdb}},
    {"STGI", 3, {0x0f, 0x01, 0xdc}},
    {"CLGI", 3, {0x0f, 0x01, 0xdd}},
    {"SKINIT", 3, {0x0f, 0x01, 0xde}},
    {"INVLPGA", 3, {0x0f, 0x01, 0xdf}},
    {"VMXON", 4, {0xf3, 0x0f, 0xc7, 0x30}},
    {"VMCLEAR", 4, {0x66, 0x0f, 0xc7, 0x30}},
    {"VMPTRLD", 3, {0x0f, 0xc7, 0x30}},
    {"VMPTRST", 3, {0x0f, 0xc7, 0x38}},
    {"VMREAD", 3, {0x0f, 0x78, 0xc3}},
    {"VMWRITE", 3, {0x0f, 0x79, 0xc3}},
    {"VMLAUNCH", 3, {0x0f, 0x01, 0xc2}},
    {"VMRESUME", 3, {0x0f, 0x01, 0xc3}},
    {"VMXOFF", 3, {0x0f, 0x01, 0xc4}},
    {"INVEPT", 5, {0x66, 0x0f, 0x38, 0x80, 0x00}},
    {"INVVPID", 5, {0x66, 0x0f, 0x38, 0x81, 0x00}},
};

static volatile uint32_t undefined; /* the length of what is executed, until it has raised #UD */

static void on_ud(struct guest_frame *f)
{
    f->rip += undefined;
    undefined = 0;
}

/* RAX: a page of ours. */
static bool is_undefined(const uint8_t *bytes, uint8_t length)
{
    static uint8_t page[4096] __attribute__((aligned(4096)));
    static uint8_t code[CODE_BYTES + 1];

    memset(code, 0xc3, sizeof(code)); /* RET */
    memcpy(code, bytes, length);
    undefined = length;
    __asm__ volatile("call *%0" ::"r"(code), "a"(page), "b"(0ull), "c"(0ull) : "rdx", "memory");
    return undefined == 0;
}

/* Every access of these must fault. */
static uint32_t allowed_msrs(uint32_t first, uint32_t last)
{
    uint32_t before = faults;

    for (uint32_t msr = first; msr <= last; msr++) {
        (void)rdmsr(msr);
        wrmsr(msr, 0);
    }
    return 2 * (last - first + 1) - (faults - before);
}

static uint32_t allowed_registers(void)
{
    uint32_t before = faults;
    uint64_t cr4;

    wrmsr(MSR_IA32_EFER, rdmsr(MSR_IA32_EFER) | EFER_SVME);
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    on_gp_length = 3;
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | CR4_VMXE));
    on_gp_length = 2;
    return 2 - (faults - before);
}

static void try_virtualization(void)
{
    uint32_t wrong = 0;

    exception_handle(6, on_ud);
    exception_handle(13, on_gp);
    for (size_t i = 0; i < ARRAY_LEN(virtualization); i++)
        if (!is_undefined(virtualization[i].bytes, virtualization[i].length)) {
            say("isolation: %s exists\n", virtualization[i].name);
            wrong++;
        }
    wrong += allowed_msrs(MSR_VM_CR, MSR_SVM_LAST) + allowed_msrs(MSR_VMX_BASIC, MSR_VMX_VMFUNC);
    wrong += allowed_registers();
    wrong += (rdmsr(MSR_IA32_EFER) & EFER_SVME) != 0;
    wrong += (cpuid(1, 0).ecx & CPUID_VMX) || (cpuid(0x80000001, 0).ecx & CPUID_SVM);
    say("isolation: virtualization done, %u wrong\n", wrong);
}

/* ---- calls that only the management guest may make ---- */

static void try_calls(void)
{
    static const uint64_t others[] = {0, 1, 0xffffffff, UINT64_MAX, 1ull << 63};
    uint32_t wrong = 0;

    for (uint64_t f = ABI_CALL_VERSION - 2; f < ABI_CALL_END + 2; f++)
        for (uint64_t guest = 0; guest < ABI_GUESTS_MAX + 1; guest++)
            wrong += abi_vmcall(f, guest, ABI_ACTION_STOP, 0) != -E_PERM;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        wrong += abi_vmcall(others[i], 0, 0, 0) != -E_PERM;
    say("isolation: calls done, %u wrong\n", wrong);
}

/* Its memory must keep its contents for as long as it watches. */
static void canary(void)
{
    static uint64_t words[1u << 17];
    uint64_t round = 0;

    for (;; round++) {
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            words[i] = i * 0x9e3779b97f4a7c15ull + round;
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            if (((volatile uint64_t *)words)[i] != i * 0x9e3779b97f4a7c15ull + round)
                say("isolation: word %zu is not mine\n", i);
        if (round % 8 == 0)
            say("isolation: canary lives, %lu\n", round);
    }
}

void guest_main(const char *cmdline)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {
        {"ask", ask},
        {"ports", try_ports},
        {"some-ports", try_some_ports},
        {"msrs", try_msrs},
        {"calls", try_calls},
        {"canary", canary},
        {"virtualization", try_virtualization},
    };

    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcmp(cmdline, parts[i].name) == 0) {
            parts[i].run();
            return;
        }
    say("isolation: what? \"%s\"\n", cmdline);
    guest_exit(2);
}
