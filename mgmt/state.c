#include "mgmt/state.h"

#include "arch/x86/inspect/decode_vmcb.h"
#include "arch/x86/inspect/entry_check_vmrun.h"
#include "arch/x86/inspect/names.h"
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/inspect/decode_vmexit.h"
#include "arch/x86/svm/exit_profile.h"
#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/exit_profile.h"
#include "hv/lib.h"

/* ---- VMCS ---- */

static struct state_row vmcs_row(unsigned row)
{
    static const unsigned bits[] = {16, 64, 32, 64};
    const struct vmcs_field *f = vmcs_field(row);
    enum vmcs_width width = vmcs_encoded_width(f->encoding);

    return (struct state_row){
        .key = f->encoding,
        .bits = bits[width],
        .name = f->name,
        .width = vmcs_width_name(width),
        .reason = f->reason,
        .place = vmcs_encoded_group(f->encoding),
        .belongs = f->group,
        .volatility = f->volatility,
        .absence = vmcs_field_absence(f),
    };
}

static unsigned decode_vmcs(unsigned row, uint64_t value, const struct abi_vmcs *all,
                            decode_emit emit, void *arg)
{
    const struct decode_context c = decode_context_of(all);

    return vmcs_decode(vmcs_field(row)->encoding, value, &c, emit, arg);
}

static size_t line_vmcs(unsigned row, uint64_t value, const struct abi_vmcs *all, char *text,
                        size_t size)
{
    const struct decode_context c = decode_context_of(all);

    return vmcs_decode_line(vmcs_field(row)->encoding, value, &c, text, size);
}

static const uint16_t vmx_controls[ABI_CONTROLS] = {
    [ABI_CONTROL_PIN] = VMCS_ROW_PIN_BASED_CONTROLS,
    [ABI_CONTROL_CPU1] = VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS,
    [ABI_CONTROL_CPU2] = VMCS_ROW_SECONDARY_PROCESSOR_CONTROLS,
    [ABI_CONTROL_EXIT] = VMCS_ROW_PRIMARY_VM_EXIT_CONTROLS,
    [ABI_CONTROL_ENTRY] = VMCS_ROW_VM_ENTRY_CONTROLS,
};

static int vmcs_control(unsigned row)
{
    for (int i = 0; i < ABI_CONTROLS; i++)
        if (vmx_controls[i] == row)
            return i;
    return -1;
}

static const char *const vmx_control_names[ABI_CONTROLS] = {
    [ABI_CONTROL_PIN] = "pin_controls",        [ABI_CONTROL_CPU1] = "primary_controls",
    [ABI_CONTROL_CPU2] = "secondary_controls", [ABI_CONTROL_EXIT] = "exit_controls",
    [ABI_CONTROL_ENTRY] = "entry_controls",
};

static unsigned vmcs_control_row(unsigned control)
{
    return vmx_controls[control];
}

static int vmcs_control_bit(unsigned row, const char *name)
{
    const struct decode_bit *bit = vmcs_control_bit_by_name(vmcs_field(row)->encoding, name);

    return bit && bit->high == bit->low && bit->low < 32 ? bit->low : -1;
}

static const char *name_of(const struct decode_bit *bits, unsigned count, unsigned bit)
{
    for (unsigned i = 0; i < count; i++)
        if (bits[i].low == bit && bits[i].high == bit)
            return bits[i].name;
    return NULL;
}

static const char *vmcs_control_bit_name(unsigned row, unsigned bit)
{
    unsigned count = 0;
    const struct decode_bit *bits = vmcs_control_bits(vmcs_field(row)->encoding, &count);

    return name_of(bits, count, bit);
}

static uint64_t capability_of(const struct abi_caps *caps, int control)
{
    return ((const uint64_t[ABI_CONTROLS]){
        [ABI_CONTROL_PIN] = caps->pin,
        [ABI_CONTROL_CPU1] = caps->cpu1,
        [ABI_CONTROL_CPU2] = caps->cpu2,
        [ABI_CONTROL_EXIT] = caps->exit,
        [ABI_CONTROL_ENTRY] = caps->entry,
    })[control];
}

static struct state_origin vmcs_origin(unsigned row, unsigned bit, uint64_t word, uint64_t wanted,
                                       const struct abi_caps *caps)
{
    uint32_t encoding = vmcs_field(row)->encoding;
    const struct decode_bit b = {.low = (uint8_t)bit, .high = (uint8_t)bit};
    unsigned control = (unsigned)vmcs_control(row);
    const struct control_provenance p =
        vmcs_control_provenance(encoding, &b, wanted, capability_of(caps, (int)control), word);
    const char *msr = vmx_msr_name(vmcs_control_msr(encoding, true));
    bool forced = p.forced0 || p.forced1;

    return (struct state_origin){
        .wanted = p.wanted,
        .effective = p.effective,
        .forced_by = !forced ? NULL
                     : msr   ? msr
                             : "",
        .changeable = !forced && (controls_changeable(control) >> bit & 1),
    };
}

/* Rules about unknown facts are left out. */
static unsigned check_vmcs(const struct abi_vmcs *v, const struct abi_caps *abi,
                           void (*failed)(void *arg, const struct entry_rule_failure *f), void *arg)
{
    const struct entry_cpu cpu = {.physical_bits = (uint8_t)abi->address_widths,
                                  .linear_bits = (uint8_t)(abi->address_widths >> 8),
                                  .ia32e = true};

    return vmcs_entry_check(v, abi, &cpu, failed, arg);
}

static bool vmx_exit_of_counter(uint32_t counter, uint32_t *reason)
{
    *reason = counter;
    return counter < ABI_EXIT_REASONS;
}

const struct state_table state_vmcs = {
    .kind = ABI_STATE_VMX,
    .name = "VMCS",
    .path = "vmcs",
    .extension = "VT-x",
    .key = "encoding",
    .key_digits = 4,
    .manual = "SDM",
    .misfit = {"encoded as a ", " field:"},
    .rows = VMCS_ROWS,
    .controls = ABI_CONTROLS,
    .rules = ENTRY_RULES,
    .maps = &exit_maps_vmx,
    .map_rows = {VMCS_ROW_IO_BITMAP_A, VMCS_ROW_IO_BITMAP_B, VMCS_ROW_MSR_BITMAP},
    .row = vmcs_row,
    .decode = decode_vmcs,
    .line = line_vmcs,
    .control = vmcs_control,
    .control_row = vmcs_control_row,
    .control_names = vmx_control_names,
    .control_bit = vmcs_control_bit,
    .control_bit_name = vmcs_control_bit_name,
    .origin = vmcs_origin,
    .check = check_vmcs,
    .exit_name = vmx_exit_reason_name,
    .exit_of_counter = vmx_exit_of_counter,
};

/* ---- VMCB ---- */

static struct state_row vmcb_row(unsigned row)
{
    static const char *const widths[] = {"0", "8", "16", "24", "32", "40", "48", "56", "64"};
    const struct vmcb_field *f = vmcb_field(row);

    return (struct state_row){
        .key = f->offset,
        .bits = 8u * f->bytes,
        .name = f->name,
        .width = widths[f->bytes],
        .reason = f->reason,
        .place = vmcb_area(f->offset),
        .belongs = f->group,
        .volatility = f->volatility,
        .absence = vmcb_field_absence(f),
    };
}

static const char *const svm_control_names[ABI_SVM_CONTROLS] = {
    [ABI_SVM_INTERCEPT_CR] = "intercept_cr",
    [ABI_SVM_INTERCEPT_DR] = "intercept_dr",
    [ABI_SVM_INTERCEPT_EXCEPTIONS] = "intercept_exceptions",
    [ABI_SVM_INTERCEPT_MISC1] = "intercept_misc1",
    [ABI_SVM_INTERCEPT_MISC2] = "intercept_misc2",
    [ABI_SVM_INTERCEPT_MISC3] = "intercept_misc3",
};

/* The intercept vectors are the first rows. */
static unsigned vmcb_control_row(unsigned control)
{
    return VMCB_ROW_INTERCEPT_CR + control;
}

static int vmcb_control_bit(unsigned row, const char *name)
{
    const struct decode_bit *bit = vmcb_intercept_by_name(row, name);

    return bit ? bit->low : -1;
}

static const char *vmcb_control_bit_name(unsigned row, unsigned bit)
{
    unsigned count = 0;
    const struct decode_bit *bits = vmcb_intercept_bits(row, &count);

    return name_of(bits, count, bit);
}

static struct state_origin vmcb_origin(unsigned row, unsigned bit, uint64_t word, uint64_t wanted,
                                       const struct abi_caps *caps)
{
    (void)caps;
    return (struct state_origin){
        .wanted = wanted >> bit & 1,
        .effective = word >> bit & 1,
        .changeable = intercepts_changeable((unsigned)vmcb_intercept_control(row)) >> bit & 1,
    };
}

static const char *svm_exit_name(uint32_t reason)
{
    return vmexit_name(reason);
}

const struct state_table state_vmcb = {
    .kind = ABI_STATE_SVM,
    .name = "VMCB",
    .path = "vmcb",
    .extension = "AMD-V",
    .key = "offset",
    .key_digits = 3,
    .manual = "APM",
    .misfit = {"in the ", " area:"},
    .rows = VMCB_ROWS,
    .controls = ABI_SVM_CONTROLS,
    .rules = VMRUN_RULES,
    .maps = &exit_maps_svm,
    .map_rows = {VMCB_ROW_IOPM_BASE_PA, VMCB_ROW_MSRPM_BASE_PA, VMCB_ROW_MSRPM_BASE_PA},
    .row = vmcb_row,
    .decode = vmcb_decode,
    .line = vmcb_decode_line,
    .control = vmcb_intercept_control,
    .control_row = vmcb_control_row,
    .control_names = svm_control_names,
    .control_bit = vmcb_control_bit,
    .control_bit_name = vmcb_control_bit_name,
    .origin = vmcb_origin,
    .check = vmrun_check,
    .exit_name = svm_exit_name,
    .exit_of_counter = vmexit_of_counter,
};

/* ---- either ---- */

const struct state_table *state_of(uint32_t kind)
{
    return kind == ABI_STATE_SVM ? &state_vmcb : &state_vmcs;
}

const char *state_counter_name(const struct state_table *t, uint32_t counter)
{
    uint32_t reason;

    return t->exit_of_counter(counter, &reason) ? t->exit_name(reason) : "OTHER";
}

int state_row_by_key(const struct state_table *t, uint32_t key)
{
    for (unsigned row = 0; row < t->rows; row++)
        if (t->row(row).key == key)
            return (int)row;
    return -E_NOENT;
}

unsigned state_digits(const struct state_row *r)
{
    return r->bits / 4;
}
