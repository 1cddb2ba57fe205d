/*
 * Entry trials: does this CPU refuse the VM entries that the entry checks say it refuses? This is
 * part of a separate kernel: the appliance's plus this file and the checks. It tries the entries of
 * test/entry_rules.json before any guest runs, with the vCPU of the management guest, which then
 * starts as always.
 */
#include "arch/x86/inspect/entry_check.h"
#include "arch/x86/virt.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/guest_life.h"
#include "hv/log.h"
#include "test/kernel/trial_file.h"
#include "test/kernel/trials.h"

/* build/gen/entry_trials.txt; -Wa,-I gives its directory. */
__asm__(".section .rodata\n"
        "entry_trials: .incbin \"entry_trials.txt\"\n"
        "entry_trials_end:\n"
        ".previous\n");
extern const char entry_trials[], entry_trials_end[];

#define NAMED_MAX 4u /* failed rules that are named; the others are counted */

struct verdict {
    char text[200];
    size_t length;
    unsigned failures;
};

static void note_failure(void *arg, const struct entry_rule_failure *f)
{
    struct verdict *v = arg;

    if (v->failures++ < NAMED_MAX && v->length < sizeof(v->text))
        v->length += fmt(v->text + v->length, sizeof(v->text) - v->length, "%s%s",
                         v->length ? ", " : "", f->rule->name);
}

/* The capability MSR of a control word, or 0. */
static uint64_t capability(uint32_t encoding)
{
    const struct abi_caps *c = vmx_caps_common();
    const uint64_t caps[ABI_CONTROLS] = {c->pin, c->cpu1, c->cpu2, c->exit, c->entry};

    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        if (vmx_control_fields[i] == encoding)
            return caps[i];
    return 0;
}

static struct entry_cpu cpu_of(const struct vmx_vcpu *x)
{
    const struct abi_caps *caps = &guest_pages()->caps[x->vcpu->entity.core];

    return (struct entry_cpu){.physical_bits = (uint8_t)caps->address_widths,
                              .linear_bits = (uint8_t)(caps->address_widths >> 8),
                              .ia32e = true,
                              .current_vmcs = (uintptr_t)x->vmcs};
}

static bool write_field(const struct trial_field *f)
{
    uint64_t value;
    bool failed;

    if (!vmread_try(f->encoding, &value))
        return false;
    value = (value & ~f->clear) | f->set;
    /* The description of the guest that enters fits every CPU: bits that must be 1 on this one are
     * added. */
    if (!f->breaking)
        value |= (uint32_t)capability(f->encoding);
    __asm__ volatile("vmwrite %1, %2"
                     : "=@ccna"(failed)
                     : "r"(value), "r"((uint64_t)f->encoding)
                     : "memory");
    return !failed;
}

/* Why it cannot be tried, or NULL. */
static const char *prepare(struct trial *t)
{
    struct trial_field f;
    int rc;

    while ((rc = trial_next_field(t, &f)) == 1)
        if (!write_field(&f))
            return "no such field";
    return rc ? "not a field: ENCODING:CLEAR:SET is wanted" : NULL;
}

static void enter(struct vmx_vcpu *x, char *text, size_t size)
{
    uint32_t how;

    vmx_set_deadline(x, 0); /* the preemption timer ends the guest before its first instruction */
    x->vcpu->stop = true;   /* it is no real guest: its exit needs no handling */
    how = vmx_enter(x->vcpu);
    if (how == VMX_ENTER_FAILED)
        (void)fmt(text, size, "VM-instruction error %lu", vmread(VMCS_VM_INSTRUCTION_ERROR));
    else if (how == VMX_EXIT_UNUSUAL)
        (void)fmt(text, size, "exit reason 0x%x, qualification %lu", x->vcpu->exit->reason,
                  vmread(VMCS_EXIT_QUALIFICATION));
    else
        (void)fmt(text, size, "entered");
    arch_irq_window();
}

static void try_entry(struct vcpu *v, struct trial *t)
{
    static struct abi_vmcs fields; /* too large for the stack; one core only does this */
    struct vmx_vcpu *x = v->backend;
    const struct entry_cpu cpu = cpu_of(x);
    struct verdict verdict = {.text = ""};
    const char *why = prepare(t);
    char name[64], outcome[80];

    (void)fmt(name, sizeof(name), "%.*s", (int)t->name_length, t->name);
    if (why) {
        log_info("entry trial %s: not tried: %s", name, why);
        return;
    }
    vmx_read_fields(&fields);
    (void)vmcs_entry_check(&fields, vmx_caps_common(), &cpu, note_failure, &verdict);
    enter(x, outcome, sizeof(outcome));
    log_info("entry trial %s: %s; checks: %u failed%s%s", name, outcome, verdict.failures,
             verdict.failures ? ": " : "", verdict.text);
}

static int set_up(struct vcpu *v)
{
    static const struct load_result start = {.mode = LOAD_PROT32, .cs = 8, .ds = 16};
    unsigned step = 0;
    int rc;

    do
        rc = virt_backend()->vcpu_init(v, &start, step++);
    while (rc == -E_AGAIN);
    return rc;
}

void core_is_on(const struct core *c)
{
    struct vcpu *v = guest_management()->life.partner;
    struct trial_file f = {.text = entry_trials, .size = (size_t)(entry_trials_end - entry_trials)};
    struct trial t;
    int rc;

    if (c->id != v->entity.core)
        return;
    if (virt_backend() == &svm_ops) {
        vmrun_trials(v, set_up);
        return;
    }
    while ((rc = trial_next(&f, &t)) != 0) {
        if (rc < 0) {
            log_warn("entry trials: line %u: not a trial: NAME FIELDS | FIELDS is wanted", f.line);
            continue;
        }
        if (set_up(v)) {
            log_warn("entry trials: the virtual CPU cannot be set up");
            return;
        }
        try_entry(v, &t);
        virt_backend()->vcpu_free(v);
        (void)log_poll();
    }
    log_info("entry trials: done");
}
