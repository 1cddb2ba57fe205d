/* The virtual machine control block: APM vol. 2 Appendix B "Layout of VMCB". Pure. */
#pragma once

#include "hv/types.h"

struct vmcb_control {
    uint16_t intercept_cr_read, intercept_cr_write; /* bit n: CRn */
    uint16_t intercept_dr_read, intercept_dr_write; /* bit n: DRn */
    uint32_t intercept_exceptions;                  /* bit n: vector n */
    uint32_t intercept_misc1, intercept_misc2, intercept_misc3;
    uint8_t reserved_18[0x3c - 0x18];
    uint16_t pause_filter_threshold, pause_filter_count;
    uint64_t iopm_base_pa, msrpm_base_pa;
    uint64_t tsc_offset;
    uint32_t guest_asid;
    uint8_t tlb_control;
    uint8_t reserved_5d[3];
    uint64_t vintr; /* V_TPR, V_IRQ and the fields behind them */
    uint64_t interrupt_shadow;
    uint64_t exitcode, exitinfo1, exitinfo2, exitintinfo;
    uint64_t np_enable;
    uint64_t avic_apic_bar, ghcb_pa;
    uint64_t eventinj;
    uint64_t n_cr3;
    uint64_t lbr_virtualization_enable;
    uint32_t vmcb_clean;
    uint32_t reserved_c4;
    uint64_t nrip;
    uint8_t bytes_fetched;
    uint8_t guest_instruction_bytes[15];
    uint64_t avic_apic_backing_page;
    uint64_t reserved_e8;
    uint64_t avic_logical_table, avic_physical_table;
    uint64_t reserved_100;
    uint64_t vmsa_pointer;
    uint8_t reserved_110[0x400 - 0x110];
};

/* `attrib` has bits 47:40 and 55:52 of the descriptor, next to each other. */
struct vmcb_segment {
    uint16_t selector, attrib;
    uint32_t limit;
    uint64_t base;
};

struct vmcb_save {
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved_a0[0xcb - 0xa0];
    uint8_t cpl;
    uint32_t reserved_cc;
    uint64_t efer;
    uint8_t reserved_d8[0x148 - 0xd8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved_180[0x1d8 - 0x180];
    uint64_t rsp, s_cet, ssp, isst_addr, rax;
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t cr2;
    uint8_t reserved_248[0x268 - 0x248];
    uint64_t g_pat, dbgctl;
    uint64_t br_from, br_to, lastexcpfrom, lastexcpto;
    uint8_t reserved_298[0xc00 - 0x298];
};

struct vmcb {
    struct vmcb_control control;
    struct vmcb_save save;
};
_Static_assert(sizeof(struct vmcb) == 4096, "a VMCB is one page");

#define VMCB_AT(member, offset)                                                                    \
    _Static_assert(offsetof(struct vmcb, member) == (offset), "APM vol. 2 Appendix B")
VMCB_AT(control.intercept_exceptions, 0x008);
VMCB_AT(control.intercept_misc1, 0x00c);
VMCB_AT(control.pause_filter_threshold, 0x03c);
VMCB_AT(control.iopm_base_pa, 0x040);
VMCB_AT(control.tsc_offset, 0x050);
VMCB_AT(control.guest_asid, 0x058);
VMCB_AT(control.tlb_control, 0x05c);
VMCB_AT(control.vintr, 0x060);
VMCB_AT(control.interrupt_shadow, 0x068);
VMCB_AT(control.exitcode, 0x070);
VMCB_AT(control.exitintinfo, 0x088);
VMCB_AT(control.np_enable, 0x090);
VMCB_AT(control.eventinj, 0x0a8);
VMCB_AT(control.n_cr3, 0x0b0);
VMCB_AT(control.vmcb_clean, 0x0c0);
VMCB_AT(control.nrip, 0x0c8);
VMCB_AT(control.bytes_fetched, 0x0d0);
VMCB_AT(control.avic_apic_backing_page, 0x0e0);
VMCB_AT(control.avic_logical_table, 0x0f0);
VMCB_AT(control.vmsa_pointer, 0x108);
VMCB_AT(save.es, 0x400);
VMCB_AT(save.gdtr, 0x460);
VMCB_AT(save.tr, 0x490);
VMCB_AT(save.cpl, 0x4cb);
VMCB_AT(save.efer, 0x4d0);
VMCB_AT(save.cr4, 0x548);
VMCB_AT(save.rip, 0x578);
VMCB_AT(save.rsp, 0x5d8);
VMCB_AT(save.rax, 0x5f8);
VMCB_AT(save.sysenter_cs, 0x628);
VMCB_AT(save.cr2, 0x640);
VMCB_AT(save.g_pat, 0x668);
VMCB_AT(save.lastexcpto, 0x690);
#undef VMCB_AT
