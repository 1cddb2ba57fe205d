/*
 * virtio over PCI (OASIS virtio v1.2, "Virtio Over PCI Bus"). Pure. The registers of virtio.h are
 * shown as memory (BAR 2, which the capabilities list first because some drivers know no other) and
 * as I/O ports (BAR 0, whose accesses cost less). A transitional device has the legacy registers in
 * BAR 0 instead. Interrupts are INTx, and MSI-X where the PC has a local APIC to take messages.
 */
#pragma once

#include "hv/pc/virtio.h"

/* Puts the device into a slot of the bus, in its power-on state. Of the same kind in each life. */
void virtio_pci_plug(struct virtio *v, struct pci *p, unsigned slot, bool transitional);
