/* The registers of a PCI function's configuration space, by offset: PCI Local Bus
 * Specification 3.0, "Configuration Space". */
#pragma once

enum pci_register {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x09, /* 3 bytes */
    PCI_BAR = 0x10,   /* 4 bytes each */
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
};
#define PCI_COMMAND_IO      0x0001u
#define PCI_COMMAND_MEMORY  0x0002u
#define PCI_COMMAND_MASTER  0x0004u
#define PCI_COMMAND_NO_INTX 0x0400u
#define PCI_STATUS_INTX     0x0008u
#define PCI_STATUS_CAPS     0x0010u
#define PCI_BAR_IO          0x1u
#define PCI_BAR_64          0x4u
#define PCI_BAR_PREFETCH    0x8u
#define PCI_CAP_VENDOR      0x09u
#define PCI_CAP_MSIX        0x11u
