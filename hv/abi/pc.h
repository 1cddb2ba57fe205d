/*
 * Where the devices of a guest's PC are: what the device models claim, and what management writes
 * into the guest's firmware tables. Numbers only: the source of the DSDT includes this too.
 */
#pragma once

/* ACPI 6.4, 4.8.3 "PM1 Event Grouping" and on. ACPI mode is always on, and there is no SMI. */
#define PC_PM1A_EVENT       0x600 /* status and enable, a word each */
#define PC_PM1A_CONTROL     0x604 /* a word */
#define PC_PM_TIMER         0x608 /* 32 bits at 3.579545 MHz */
#define PC_SCI              9     /* IRQ, level-triggered, active high */
/* SLP_TYP of S5, as QEMU has it: kernels that know no tables write 0x2000 to port 0x604. */
#define PC_S5_TYPE          0
#define PC_RESET_PORT       0xcf9
#define PC_RESET_VALUE      0x06

#define PC_LOCAL_APIC       0xfee00000
#define PC_IO_APIC          0xfec00000
#define PC_HPET             0xfed00000
#define PC_HPET_SIZE        0x400
/* The lower half of its capabilities: Intel, legacy replacement route, 64 bits, 3 timers. */
#define PC_HPET_ID          0x8086a201
/* Of one bus. */
#define PC_ECAM             0xe0000000
#define PC_ECAM_SIZE        0x100000
/* For BARs: two ranges of memory and one of ports. */
#define PC_PCI_LOW          0xc0000000
#define PC_PCI_LOW_LAST     0xdfffffff
#define PC_PCI_LOW_SIZE     0x20000000
#define PC_PCI_HIGH         0xe0100000
#define PC_PCI_HIGH_LAST    0xfebfffff
#define PC_PCI_HIGH_SIZE    0x1eb00000
#define PC_PCI_PORTS        0xc000
#define PC_PCI_PORTS_LAST   0xffff
#define PC_PCI_PORTS_SIZE   0x4000
/* The lines of PCI devices: IRQs, level-triggered, active high. */
#define PC_PCI_IRQ_A        10
#define PC_PCI_IRQ_B        11

/* Slots of the virtio devices: on the PCI bus, or of their registers if these are memory-mapped. */
#define PC_SLOT_NET         3
#define PC_SLOT_DISK        4 /* and the next three */
#define PC_SLOT_RNG         8
#define PC_SLOT_CONSOLE     9
#define PC_VIRTIO_MMIO      0xfef00000 /* of slot 0, if it had one */
#define PC_VIRTIO_MMIO_SIZE 0x200

/* Bits of HAVE in the DSDT. */
#define HAVE_UART           0x01
#define HAVE_PIC            0x02
#define HAVE_PIT            0x04
#define HAVE_RTC            0x08
#define HAVE_HPET           0x10
#define HAVE_PCI            0x20
/* Memory-mapped virtio devices, by slot. */
#define HAVE_VIRTIO_3       0x100
#define HAVE_VIRTIO_4       0x200
#define HAVE_VIRTIO_5       0x400
#define HAVE_VIRTIO_6       0x800
#define HAVE_VIRTIO_7       0x1000
#define HAVE_VIRTIO_8       0x2000
#define HAVE_VIRTIO_9       0x4000
