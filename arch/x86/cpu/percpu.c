#include "arch/x86/cpu/percpu.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/errata.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/machine_check.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"

struct core_block boot_core_block;

static struct cpu *cpus[ARCH_CORES_MAX];
static unsigned cpu_count;
static struct cpu *started[ABI_THREADS_MAX];
static unsigned started_count;

struct cpu *cpu_get(unsigned number)
{
    return number < cpu_count ? cpus[number] : NULL;
}

void cpu_prepare(struct cpu *c, uint32_t apic_id)
{
    c->self = c;
    c->number = CPU_PARKED;
    c->apic_id = apic_id;
}

void cpu_add(struct cpu *c)
{
    started[started_count++] = c;
}

struct cpu *cpu_started(unsigned i)
{
    return i < started_count ? started[i] : NULL;
}

void cpu_number(struct cpu *c)
{
    c->number = cpu_count;
    cpus[cpu_count++] = c;
}

unsigned arch_core_count(void)
{
    return cpu_count;
}

unsigned arch_core_self(void)
{
    uint32_t n;

    __asm__ volatile("movl %%gs:8, %0" : "=r"(n));
    return n;
}

uint32_t arch_core_apic_id(unsigned core)
{
    return core < cpu_count ? cpus[core]->apic_id : UINT32_MAX;
}

void cpu_setup(void)
{
    struct cpuid_regs one = cpuid(1, 0);
    struct cpuid_regs seven = {0};
    uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    if (cpuid(0, 0).eax >= 7)
        seven = cpuid(7, 0);
    if (one.ecx & CPUID_1_ECX_XSAVE)
        cr4 |= CR4_OSXSAVE; /* guests' extended state is switched by the root */
    if (seven.ebx & CPUID_7_EBX_SMEP)
        cr4 |= CR4_SMEP;
    if (seven.ebx & CPUID_7_EBX_SMAP)
        cr4 |= CR4_SMAP;
    if (seven.ecx & CPUID_7_ECX_UMIP)
        cr4 |= CR4_UMIP;
    write_cr0(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
    write_cr4(cr4);
    wrmsr(MSR_IA32_EFER, EFER_LME | EFER_LMA | EFER_NXE);
    /* What the page tables' cache bits mean (page_table.h). Until here only entry 0 was in use,
     * which is write-back in either. */
    if (rdmsr(MSR_IA32_PAT) != PAT_HOST)
        wrmsr(MSR_IA32_PAT, PAT_HOST);
    machine_check_enable();
    if (cpuid(0, 0).ebx == CPUID_0_EBX_AMD)
        errata_fix_core(one.eax);
    leaks_set_up_core();
}
