/*
 * The small PC that our own guests (the management guest and the samples) run on: ports, exception
 * and interrupt entries, the 8259 pair, the PCI bus. start.asm calls guest_run() in 64-bit mode
 * with the first 8 GiB identity-mapped and interrupts off.
 */
#pragma once

#include "arch/x86/cpu/io.h"
#include "hv/types.h"

#define PC_EXCEPTIONS 32u /* vectors 0..31; IRQ n is vector PC_EXCEPTIONS + n */
#define PC_VECTORS    48u

/* What an interrupt or exception pushed. */
struct guest_frame {
    uint64_t error, rip, cs, rflags, rsp, ss;
};

/* Each guest has its own. `info`: multiboot2 information; NULL in the management guest. */
void guest_run(const uint8_t *info);
void guest_interrupt(uint64_t vector, struct guest_frame *f);

/* Sets up the IDT and the PICs; all lines but the cascade are masked. */
void pc_start(void);
/* The line interrupts from now on. */
void pc_unmask(unsigned irq);
/* Number `n`, from 0, of the PCI functions with this identity: makes it a bus master, and returns
 * the first port of its BAR 0. 0: there is none. */
uint16_t pc_pci_ports(uint16_t vendor, uint16_t device, unsigned n);
/* End of interrupt, at the PICs that handle the line. */
void pc_eoi(unsigned irq);
