/*
 * What a guest's PC has that tables of numbers cannot say. Management sets the bits of HAVE from the
 * guest's configuration (mgmt/load/acpi.c); a device whose bit is 0 is not there.
 */
#include "hv/abi/pc.h"

/* A memory-mapped virtio device; its slot has this address and this interrupt. */
#define VIRTIO(name, slot, at, irq, have)                                                          \
    Device (name)                                                                                  \
    {                                                                                              \
        Name (_HID, "LNRO0005")                                                                    \
        Name (_UID, slot)                                                                          \
        Method (_STA) {Return (STA (have))}                                                        \
        Name (_CRS, ResourceTemplate ()                                                            \
        {                                                                                          \
            Memory32Fixed (ReadWrite, at, PC_VIRTIO_MMIO_SIZE)                                     \
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) {irq}                          \
        })                                                                                         \
    }

DefinitionBlock ("", "DSDT", 2, "BLKHED", "BULKHEAD", 1)
{
    Name (HAVE, 0x12345678)

    Name (\_S5, Package (4) {PC_S5_TYPE, PC_S5_TYPE, 0, 0})

    Method (STA, 1)
    {
        If (HAVE & Arg0)
        {
            Return (0x0f)
        }
        Return (0)
    }

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_SEG, 0)
            Name (_BBN, 0)
            Method (_STA) {Return (STA (HAVE_PCI))}
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                IO (Decode16, 0x0cf8, 0x0cf8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                        0, PC_PCI_PORTS, PC_PCI_PORTS_LAST, 0, PC_PCI_PORTS_SIZE)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, PC_PCI_LOW, PC_PCI_LOW_LAST, 0, PC_PCI_LOW_SIZE)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, PC_PCI_HIGH, PC_PCI_HIGH_LAST, 0, PC_PCI_HIGH_SIZE)
            })
            /* A slot's four pins share a line; even slots have the one, odd slots the other. */
            Method (_PRT)
            {
                Local0 = Package (128) {}
                Local1 = 0
                While (Local1 < 128)
                {
                    Local2 = Package (4) {0, 0, 0, 0}
                    Local2[0] = ((Local1 >> 2) << 16) | 0xffff
                    Local2[1] = Local1 & 3
                    If ((Local1 >> 2) & 1)
                    {
                        Local2[3] = PC_PCI_IRQ_B
                    }
                    Else
                    {
                        Local2[3] = PC_PCI_IRQ_A
                    }
                    Local0[Local1] = Local2
                    Local1++
                }
                Return (Local0)
            }
        }

        /* What belongs to no other device: nothing else may be put there. */
        Device (ECAM)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 1)
            Method (_STA) {Return (STA (HAVE_PCI))}
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, PC_ECAM, PC_ECAM_SIZE)
            })
        }

        Device (PMIO)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 2)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, PC_PM1A_EVENT, PC_PM1A_EVENT, 1, 0x0c)
            })
        }

        Device (PIC)
        {
            Name (_HID, EisaId ("PNP0000"))
            Method (_STA) {Return (STA (HAVE_PIC))}
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x20, 0x20, 1, 2)
                IO (Decode16, 0xa0, 0xa0, 1, 2)
                IO (Decode16, 0x4d0, 0x4d0, 1, 2)
                IRQNoFlags () {2}
            })
        }

        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Method (_STA) {Return (STA (HAVE_PIT))}
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x40, 0x40, 1, 4)
                IRQNoFlags () {0}
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Method (_STA) {Return (STA (HAVE_RTC))}
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x70, 0x70, 1, 2)
                IRQNoFlags () {8}
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Method (_STA) {Return (STA (HAVE_UART))}
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3f8, 0x3f8, 1, 8)
                IRQNoFlags () {4}
            })
        }

        Device (HPET)
        {
            Name (_HID, EisaId ("PNP0103"))
            Method (_STA) {Return (STA (HAVE_HPET))}
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadOnly, PC_HPET, PC_HPET_SIZE)
            })
        }

        /* From PC_VIRTIO_MMIO on, by slot; the lines are those of the slots on the bus. */
        VIRTIO (VIO3, 3, 0xfef00600, PC_PCI_IRQ_B, HAVE_VIRTIO_3)
        VIRTIO (VIO4, 4, 0xfef00800, PC_PCI_IRQ_A, HAVE_VIRTIO_4)
        VIRTIO (VIO5, 5, 0xfef00a00, PC_PCI_IRQ_B, HAVE_VIRTIO_5)
        VIRTIO (VIO6, 6, 0xfef00c00, PC_PCI_IRQ_A, HAVE_VIRTIO_6)
        VIRTIO (VIO7, 7, 0xfef00e00, PC_PCI_IRQ_B, HAVE_VIRTIO_7)
        VIRTIO (VIO8, 8, 0xfef01000, PC_PCI_IRQ_A, HAVE_VIRTIO_8)
        VIRTIO (VIO9, 9, 0xfef01200, PC_PCI_IRQ_B, HAVE_VIRTIO_9)
    }
}
