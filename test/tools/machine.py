"""The machines that can boot the ISO: Bochs (with VMX or SVM), QEMU with KVM, QEMU alone (with SVM). Shared by `make run`, the boot tests and the benchmarks."""
import functools
import os
import re
import shutil
import socket
import subprocess

BOCHSRC = """plugin_ctrl: unmapped=1, e1000=1
cpu: model={model}, count={cpus}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs={ignore_bad_msrs}
memory: guest={memory}, host={host_memory}
romimage: file={rom}
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={serial}
display_library: rfb, options="timeout=0"
log: {dir}/bochs.log
clock: sync={sync}
panic: action=fatal
error: action=report
info: action=ignore
pci: enabled=1, chipset=i440fx
speaker: enabled=0
sound: driver=dummy
e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=slirp, script={dir}/slirp.conf
"""


BIOS, OVMF = "/usr/share/bochs/BIOS-bochs-latest, options=fastboot", "/usr/share/ovmf/OVMF.fd"
SCREEN_COLUMNS, SCREEN_ROWS = 80, 25  # of the VGA's text mode


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nested_kvm(modules="/sys/module", device="/dev/kvm"):
    """Whether there is a KVM whose guests have VT-x or SVM, with nested paging."""
    def is_on(module, parameter):
        try:
            with open(os.path.join(modules, module, "parameters", parameter), encoding="ascii") as f:
                return f.read().strip() in ("1", "Y")
        except OSError:
            return False

    nested = any(is_on(module, "nested") and is_on(module, paging) for module, paging in (("kvm_intel", "ept"), ("kvm_amd", "npt")))
    return nested and os.access(device, os.R_OK | os.W_OK) and shutil.which("qemu-system-x86_64") is not None


@functools.lru_cache(maxsize=None)
def bochs_help():
    return subprocess.run(["bochs", "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout.decode("utf-8", "replace")


def bochs_version():
    """The version of the installed Bochs, such as (2, 7) or (3, 0). The same CPU model has more features in 3.0."""
    return tuple(int(n) for n in re.search(r"Bochs x86 Emulator (\d+)\.(\d+)", bochs_help()).groups())


def bochs_debugger():
    """Bochs 3.0 includes its debugger and starts it on request; Debian's 2.7 always runs it. With the debugger a tick is an instruction for any number of
    CPUs; without it, 3.0 adds the time of halted CPUs to all time-stamp counters. `-rc` alone does not start it."""
    return ["-debugger"] if "-debugger" in bochs_help() else []


def bochs_command(directory, iso, cpus=1, memory=256, port=0, model="corei7_skylake_x", ips=20000000, sync="none", address="10.0.2.15", https_port=0, ignore_bad_msrs=True, rom=BIOS, host_memory=None):
    """Writes Bochs's files into `directory` and returns the command. Serial output goes to directory/serial.txt. `port` and `https_port` of this computer are
    forwarded to `address`. With `ignore_bad_msrs` an MSR that does not exist reads 0; else it causes #GP, as on a real CPU."""
    os.makedirs(directory, exist_ok=True)
    directory = os.path.abspath(directory)
    serial = os.path.join(directory, "serial.txt")
    open(serial, "wb").close()
    with open(os.path.join(directory, "bochsrc"), "w", encoding="ascii") as f:
        f.write(BOCHSRC.format(model=model, cpus=cpus, ips=ips, memory=memory, host_memory=host_memory or memory, iso=os.path.abspath(iso), serial=serial, dir=directory, sync=sync, ignore_bad_msrs=int(ignore_bad_msrs), rom=rom))
    with open(os.path.join(directory, "rc"), "w", encoding="ascii") as f:
        # A signal (SIGINT) ends the first command; the rest dump the screen, as 16-bit cells of characters and colours.
        f.write(f"c\nxp /{SCREEN_COLUMNS * SCREEN_ROWS}hx 0xb8000\nq\n")
    with open(os.path.join(directory, "slirp.conf"), "w", encoding="ascii") as f:
        f.write("# slirp config\n")
        if port:
            f.write(f"hostfwd = tcp:127.0.0.1:{port}-{address}:80\n")
        if https_port:
            f.write(f"hostfwd = tcp:127.0.0.1:{https_port}-{address}:443\n")
    return ["bochs", "-q", *bochs_debugger(), "-f", os.path.join(directory, "bochsrc"), "-rc", os.path.join(directory, "rc")]


def qemu_command(directory, iso, cpus=1, memory=256, port=0, https_port=0, accel=("kvm", "host"), board="pc", nic="e1000", more=()):
    """`accel`: the accelerator and its CPU model, such as ("tcg", "EPYC"), which has SVM. Serial output goes to directory/serial.txt."""
    os.makedirs(directory, exist_ok=True)
    serial = os.path.join(directory, "serial.txt")
    open(serial, "wb").close()
    forward = f",hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:80" if port else ""
    forward += f",hostfwd=tcp:127.0.0.1:{https_port}-10.0.2.15:443" if https_port else ""
    return ["qemu-system-x86_64", "-M", board, "-accel", accel[0], "-cpu", accel[1], "-smp", str(cpus), "-m", str(memory), "-cdrom", iso,
            "-display", "none", "-serial", "file:" + serial, "-no-reboot", "-nic", f"user,model={nic}" + forward, *more]
