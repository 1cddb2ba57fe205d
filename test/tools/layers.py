"""The layer rules and the contracts of the design: which file may include which header. Prints each violation; exit status 1 if there is one."""
import os
import re
import sys

# The headers of the hypervisor that a backend, and code above it, may include.
BACKEND = ("hv/abi/", "hv/arch.h", "hv/exit.h", "hv/fmt.h", "hv/gmem.h", "hv/guest.h", "hv/job.h", "hv/lib.h", "hv/panic.h", "hv/pc/bus.h", "hv/pc/irqchip.h", "hv/types.h",
           "hv/vcpu.h", "hv/virt.h")

# Headers that all may use.
BASE = ("hv/fmt.h", "hv/lib.h", "hv/log.h", "hv/panic.h", "hv/spinlock.h", "hv/types.h")

# Contracts, which their headers explain: header -> the prefixes of the files on either side. No others may include it.
CONTRACTS = {
    "hv/virt.h": ("hv/", "arch/x86/virt", "arch/x86/vmx/", "arch/x86/svm/", "arch/x86/guest/", "test/"),
    "hv/exit.h": ("hv/", "arch/x86/vmx/", "arch/x86/svm/", "arch/x86/guest/", "test/"),
    "arch/x86/guest/vcpu_state.h": ("arch/x86/guest/", "arch/x86/vmx/", "arch/x86/svm/", "test/"),
    "hv/pc/irqchip.h": ("hv/core", "hv/exit.c", "hv/vcpu_life.c", "hv/pc/", "arch/x86/guest/vcpu_state.h", "test/"),
    "hv/pc/device.h": ("hv/pc/", "test/"),
    "hv/core_work.h": ("hv/core", "test/"),
    "hv/net.h": ("hv/", "net/net.c", "net/nic.c", "test/"),
    "net/nic.h": ("net/", "test/"),
    "net/uplink.h": ("net/net.c", "net/nic.c", "test/"),
}

# file prefix -> allowed includes, as patterns of their beginnings. The first match counts.
RULES = [
    ("arch/x86/boot/", ("arch/x86/boot/", "arch/x86/cpu/", "hv/arch.h", "hv/main.h", "hv/mem.h", *BASE)),
    ("arch/x86/cpu/", ("arch/x86/boot/multiboot2.h", "arch/x86/cpu/", "hv/abi/cpu_faults.h", "hv/arch.h", "hv/mem.h", *BASE)),
    ("arch/x86/inspect/", ("arch/x86/inspect/", "arch/x86/svm/svm.h", "arch/x86/vmx/caps.h", "arch/x86/vmx/vmx.h", "arch/x86/cpu/", "hv/abi/", "hv/types.h", "hv/lib.h", "hv/fmt.h")),
    ("arch/x86/vmx/", ("arch/x86/virt.h", "arch/x86/vmx/", "arch/x86/inspect/", "arch/x86/guest/", "arch/x86/cpu/", "hv/hostmem.h", "hv/log.h", *BACKEND)),
    ("arch/x86/svm/", ("arch/x86/virt.h", "arch/x86/svm/", "arch/x86/inspect/", "arch/x86/guest/", "arch/x86/cpu/", "hv/hostmem.h", "hv/log.h", *BACKEND)),
    ("arch/x86/virt", ("arch/x86/virt.h", "hv/virt.h", *BASE)),
    ("arch/x86/guest/tree.c", ("arch/x86/guest/", "hv/hostmem.h", *BACKEND)),
    ("arch/x86/guest/", ("arch/x86/guest/", "arch/x86/cpu/", *BACKEND)),
    ("hv/abi/", ("hv/abi/", "hv/config.h", "hv/load_plan.h", "hv/options.h", "hv/types.h")),
    ("hv/pc/", ("hv/pc/", "hv/abi/", "hv/config.h", "hv/date.h", "hv/gmem.h", "hv/offload.h", *BASE)),
    # Not the devices: they are rows of pc/platform.c.
    ("hv/", ("hv/abi/", "hv/pc/irqchip.h", "hv/pc/platform.h", "hv/[^/]+$", "version.h", "jsmn.h")),
    # core.h: a frame's interrupt wakes the core that takes frames.
    ("net/", ("net/", "hv/abi/net.h", "hv/checksum.h", "hv/offload.h", "hv/arch.h", "hv/core.h", "hv/net.h", "hv/pc/pci_registers.h", "hv/pc/virtio_registers.h", *BASE)),
    ("mgmt/tools/", ("mgmt/", "hv/", "arch/x86/inspect/", "arch/x86/vmx/")),
    ("mgmt/bhctl/", ("mgmt/bhctl/", "hv/types.h", "hv/plain.h", "hv/config_fields.def", "mgmt/service.h", "mgmt/config/presets.h", "mgmt/words.h")),
    ("mgmt/pc/", ("mgmt/pc/", "arch/x86/cpu/cpuid.h", "arch/x86/cpu/io.h", "hv/pc/pci.h", "hv/pc/pci_registers.h", "hv/types.h")),
    ("mgmt/", ("mgmt/", "hv/abi/", "hv/checksum.h", "hv/types.h", "hv/lib.h", "hv/fmt.h", "hv/date.h", "hv/config.h", "hv/actions.def", "hv/config_fields.def", "hv/words.def", "hv/options.h", "hv/load_plan.h", "hv/pc/virtio_net.h",
               "arch/x86/inspect/", "arch/x86/svm/exit_profile.h", "arch/x86/svm/svm.h", "arch/x86/vmx/exit_profile.h", "arch/x86/vmx/caps.h", "arch/x86/vmx/vmx.h")),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
PATHS = re.compile(r"(?<![\w.])/(work|tmp/w|root)/")


def main():
    bad = 0
    for top in ("arch", "hv", "net", "mgmt", "test", "iso"):
        for root, _, names in os.walk(top):
            for name in sorted(names):
                path = os.path.join(root, name)
                if path == "test/tools/layers.py":
                    continue
                try:
                    with open(path, encoding="utf-8") as f:
                        text = f.read()
                except (UnicodeDecodeError, OSError):
                    continue
                if PATHS.search(text):
                    print(f"{path}: names a path of somebody's machine")
                    bad += 1
                if not name.endswith((".c", ".h")):
                    continue
                allowed = next((a for p, a in RULES if path.startswith(p)), None)
                for include in INCLUDE.findall(text) if allowed else ():
                    local = "/" not in include and os.path.exists(os.path.join(root, include))
                    if path.startswith("mgmt/") and (local or "/" not in include or include.startswith(("apps/sntp/", "core/ipv4/", "lwip/", "mbedtls/", "netif/", "psa/", "arch/cc", "arch/sys"))):
                        continue
                    if not any(re.match(a, include) for a in allowed) or not path.startswith(CONTRACTS.get(include, "")):
                        print(f"{path}: may not include {include}")
                        bad += 1
    print("layers: " + (f"{bad} violations" if bad else "ok"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
