#include "arch/x86/boot/multiboot2.h"
#include "arch/x86/cpu/acpi.h"
#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/board.h"
#include "arch/x86/cpu/console.h"
#include "arch/x86/cpu/desc.h"
#include "arch/x86/cpu/paging.h"
#include "arch/x86/cpu/pci.h"
#include "arch/x86/cpu/percpu.h"
#include "arch/x86/cpu/smp.h"
#include "arch/x86/cpu/stack_check.h"
#include "arch/x86/cpu/trap.h"
#include "arch/x86/cpu/tsc.h"
#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/main.h"
#include "hv/mem.h"
#include "hv/panic.h"

#define INFO_SIZE_MAX    (1u << 20)
#define NAME_MAX         128u
#define CMDLINE_MAX      1024u
#define LOW_MEMORY_END   0x100000ull
#define BELOW_4G         (4ull << 30) /* mapped from the start */
#define TRAMPOLINE_TOP   0xa0000ull
#define TRAMPOLINE_LOW   0x1000ull
#define EBDA_POINTER     0x40eu /* segment, in the BIOS data area */
#define EBDA_SEARCH      1024u
#define BIOS_SEARCH      0xe0000u
#define FRAMEBUFFER_RGB  1u
#define FRAMEBUFFER_TEXT 2u

/* Not needed by hv_main(): give_back(). */
#define ONCE             __attribute__((section(".bss.once")))

extern uint8_t kernel_start[], kernel_once[], kernel_end[];
extern const uint64_t kernel_linked;

_Noreturn void boot_main(uint32_t info_address, uint64_t entry_tsc);

static ONCE struct mb2_info info;
static struct mem_map memory;
static ONCE struct acpi_info acpi;
static struct arch_module modules[ARCH_MODULES_MAX];
static char module_names[ARCH_MODULES_MAX][NAME_MAX];
static unsigned module_count;
static char cmdline[CMDLINE_MAX];
static ONCE struct rsdp {
    uint8_t bytes[ACPI_RSDP_SIZE];
    size_t size;
} rsdps[2]; /* to be tried in this order */
static unsigned rsdp_count;

unsigned arch_module_count(void)
{
    return module_count;
}

const struct arch_module *arch_module(unsigned i)
{
    return i < module_count ? &modules[i] : NULL;
}

static void own(uint64_t base, uint64_t size, enum mem_owner_kind kind)
{
    if (mem_add(&memory, base, size, kind, 0))
        panic("the firmware's memory map has too many ranges");
}

/* The highest free page below 640 KB that holds no module and not the boot information, or 0. Other
 * cores start there in real mode. */
static uint64_t find_trampoline(uint64_t info_base, uint64_t info_size)
{
    for (uint64_t page = TRAMPOLINE_TOP - PAGE_SIZE; page >= TRAMPOLINE_LOW; page -= PAGE_SIZE) {
        const struct mem_range *r = mem_find(&memory, hpa(page));
        bool used = info_base < page + PAGE_SIZE && page < info_base + info_size;

        for (unsigned i = 0; i < info.module_count; i++)
            used = used || (info.modules[i].start < page + PAGE_SIZE && page < info.modules[i].end);
        if (r && r->kind == MEM_FREE && !used)
            return page;
    }
    return 0;
}

/* Half the table is kept for owners: a map of that many pieces loses some. */
static void own_free(const struct mb2_range *r, uint64_t *lost)
{
    if (memory.count >= MEM_RANGES_MAX / 2 || mem_add(&memory, r->base, r->size, MEM_FREE, 0))
        *lost += r->size;
}

static void build_memory_map(void)
{
    uint64_t lost = 0;

    if (info.range_count == 0)
        panic("the boot loader gave no memory map");
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < info.range_count; i++) {
            struct mb2_range r = mb2_range(&info, i);

            if (r.ram && pass == 0)
                own_free(&r, &lost);
            else if (!r.ram && pass == 1)
                own(r.base, r.size, MEM_RESERVED);
        }
    if (lost)
        log_warn("the firmware's memory map has too many pieces: %lu KiB are not used", lost >> 10);
}

/* Reserves what must not be allocated. The boot information itself is copied before any allocation.
 * Modules are whole pages, as management sees them. */
static void reserve(void)
{
    own(0, LOW_MEMORY_END, MEM_RESERVED);
    for (unsigned i = 0; i < info.module_count; i++)
        if (info.modules[i].end > info.modules[i].start)
            own(info.modules[i].start,
                align_up(info.modules[i].end, PAGE_SIZE) - info.modules[i].start, MEM_MODULE);
    own((uintptr_t)kernel_start, (uintptr_t)kernel_end - (uintptr_t)kernel_start, MEM_HOST);
}

static void add_rsdp(const uint8_t *p, size_t size)
{
    struct rsdp *to = &rsdps[rsdp_count];

    if (!p || !acpi_rsdp_valid(p, size))
        return;
    to->size = (size_t)min_u64(size, sizeof(to->bytes));
    memcpy(to->bytes, p, to->size);
    rsdp_count++;
}

static void copy_out(void)
{
    if (!str_copy(cmdline, sizeof(cmdline), info.cmdline))
        log_warn("the kernel command line is cut at %u characters", CMDLINE_MAX - 1);
    for (unsigned i = 0; i < info.module_count && i < ARCH_MODULES_MAX; i++) {
        if (!mb2_unquote(info.modules[i].string, module_names[i], NAME_MAX))
            log_warn("module name cut: %s", module_names[i]);
        modules[module_count++] = (struct arch_module){
            .data = arch_ptr(hpa(info.modules[i].start)),
            .size = (size_t)(info.modules[i].end - info.modules[i].start),
            .name = module_names[i],
        };
    }
    add_rsdp(info.rsdp_new.data, info.rsdp_new.size);
    add_rsdp(info.rsdp_old.data, info.rsdp_old.size);
    if (info.dropped)
        log_warn("%u parts of the boot information are malformed or too many", info.dropped);
}

/* If UEFI leaves the lowest memory free, GRUB puts a module at address 0, but paging_init() unmaps
 * page 0. Moves such a module, and any that is not page-aligned, as the multiboot2 header requires.
 */
static void move_modules(void)
{
    for (unsigned i = 0; i < module_count; i++) {
        struct arch_module *m = &modules[i];
        uint64_t size = align_up(m->size, PAGE_SIZE);
        hpa_t to;

        if ((uintptr_t)m->data >= PAGE_SIZE && (uintptr_t)m->data % PAGE_SIZE == 0)
            continue;
        if (m->size == 0) {
            m->data = (const uint8_t *)""; /* of nothing */
            continue;
        }
        if (mem_alloc(&memory, size, PAGE_SIZE, BELOW_4G, MEM_MODULE, 0, &to))
            panic("no memory to move the module \"%s\"", m->name);
        memcpy(arch_ptr(to), m->data, m->size);
        log_info("module %s: moved from address 0x%lx", m->name, arch_hpa(m->data).v);
        m->data = arch_ptr(to);
    }
}

/* Without a good tag from the boot loader: searches the extended BIOS data area and the BIOS
 * itself. */
static void search_rsdp(void)
{
    uint64_t ebda;
    const uint8_t *found = NULL;

    /* mem_read_safe(), because the compiler takes an object at such a low address for a bad NULL
     * pointer. */
    if (rsdp_count || mem_read_safe((const uint64_t *)(uintptr_t)EBDA_POINTER, &ebda))
        return;
    ebda = (ebda & UINT16_MAX) << 4;
    if (ebda >= TRAMPOLINE_TOP / 2 && ebda < TRAMPOLINE_TOP - EBDA_SEARCH)
        found = acpi_rsdp_search(arch_ptr(hpa(ebda)), EBDA_SEARCH);
    if (!found)
        found = acpi_rsdp_search(arch_ptr(hpa(BIOS_SEARCH)), LOW_MEMORY_END - BIOS_SEARCH);
    add_rsdp(found, LOW_MEMORY_END - (uintptr_t)found);
}

static int read_physical(void *ctx, uint64_t address, void *buf, size_t size)
{
    (void)ctx;
    if (!paging_map_firmware(address, size))
        return -E_RANGE;
    memcpy(buf, arch_ptr(hpa(address)), size);
    return 0;
}

static void read_acpi(void)
{
    const struct acpi_reader reader = {read_physical, NULL};

    bool found = false;

    for (unsigned i = 0; i < rsdp_count && !found; i++)
        found = acpi_parse(&reader, rsdps[i].bytes, rsdps[i].size, &acpi) == 0;
    if (!found) {
        log_warn("no ACPI tables: only the boot core is used");
        return;
    }
    if (!acpi.have_madt)
        log_warn("no MADT among the ACPI tables: only the boot core is used");
    if (acpi.bad_tables || acpi.dropped)
        log_warn("ACPI: %u tables and %u entries are malformed or too many", acpi.bad_tables,
                 acpi.dropped);
}

/* `q`: what was done before the MCFG was known. Devices of further segments were not reached then.
 */
static void use_pci(struct pci_quiet *q)
{
    unsigned buses = pci_use_memory(&acpi);
    struct pci_quiet more = pci_quieten_segments();

    log_info("PCI: %u functions, bus mastering off on %u%s; %u buses by memory",
             q->functions + more.functions, q->silenced + more.silenced,
             q->screens + more.screens ? ", left on for the screen" : "", buses);
}

static void start_screen(void)
{
    const struct mb2_framebuffer *f = &info.framebuffer;
    struct screen_framebuffer s = {
        .pitch = f->pitch,
        .width = f->width,
        .height = f->height,
        .bytes_per_pixel = f->bpp / 8u,
    };

    if (f->type != FRAMEBUFFER_RGB || (s.bytes_per_pixel != 3 && s.bytes_per_pixel != 4) ||
        f->pitch / s.bytes_per_pixel < f->width || f->height > UINT16_MAX)
        return;
    s.base = paging_map_framebuffer(hpa(f->address), (size_t)f->pitch * f->height);
    if (s.base)
        screen_init_framebuffer(&s);
}

static void give_back(void)
{
    if (mem_free(&memory, hpa((uintptr_t)kernel_once),
                 (uintptr_t)kernel_end - (uintptr_t)kernel_once))
        panic("the memory map has lost the kernel");
}

/* Starts the serial port and, if the boot loader left it in text mode, the screen: from here on a
 * panic is readable. */
static void start_console(void)
{
    uart_init();
    if (info.framebuffer.address == 0 ? !info.efi : info.framebuffer.type == FRAMEBUFFER_TEXT)
        screen_init_text();
}

_Noreturn __attribute__((no_stack_protector)) void boot_main(uint32_t info_address,
                                                             uint64_t entry_tsc)
{
    static struct boot_info b;
    const uint8_t *raw = arch_ptr(hpa(info_address));
    uint32_t info_size;
    struct pci_quiet pci;
    uint64_t trampoline;
    int rc;

    cpu_prepare(&boot_core_block.cpu, 0);
    cpu_add(&boot_core_block.cpu);
    cpu_number(&boot_core_block.cpu);
    desc_init_idt();
    desc_load(&boot_core_block.cpu);
    cpu_setup();
    __stack_chk_guard = (uintptr_t)arch_random() & ~0xffull; /* a zero byte stops strings */
    memcpy(&info_size, raw, sizeof(info_size));
    rc = mb2_parse(raw, min_u64(info_size, INFO_SIZE_MAX), &info);
    start_console();
    if (rc)
        panic("the multiboot2 information is malformed");
    if (kernel_linked != (uintptr_t)kernel_start)
        log_info("the boot loader put the kernel at 0x%lx", (uintptr_t)kernel_start);
    build_memory_map();
    trampoline = find_trampoline(info_address, info_size);
    reserve();
    copy_out();
    move_modules();
    pci = pci_quieten_machine();
    search_rsdp();
    paging_init(&memory);
    start_screen();
    read_acpi();
    uart_choose(&acpi);
    use_pci(&pci);
    board_init(&acpi);
    clock_init();
    tsc_calibrate(&acpi);
    apic_init(&acpi);
    boot_core_block.cpu.apic_id = apic_id_self();
    boot_core_block.cpu.online = 1;
    apic_timer_init();
    ioapic_init(&acpi);
    smp_start(&acpi, &memory, trampoline);
    give_back();
    b = (struct boot_info){.memory = &memory, .entry_tsc = entry_tsc, .cmdline = cmdline};
    hv_main(&b);
}
