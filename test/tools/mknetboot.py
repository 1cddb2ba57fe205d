"""Makes what a TFTP or HTTP server hands to machines that boot from the network, from the same kernel, files and GRUB configuration as the ISO:

bulkhead.efi   for UEFI, by PXE or by HTTP: GRUB with all files inside, so the firmware fetches one file, and GRUB needs no network
bulkhead.0     for BIOS, by PXE: GRUB, which fetches boot/ from the directory of the server that it came from itself

The same input gives the same bytes."""
import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mkiso  # noqa: E402

MODULES = "multiboot2 serial normal boot configfile test echo relocator mmap acpi"
OURS = ("boot", "bulkhead.0", "bulkhead.efi")
# The server and the directory that PXE named are in cmdpath, or in fw_path instead (Debian 13's GRUB, 2.12-9+deb13u4). What GRUB runs here knows no "if".
EARLY = "set top=${cmdpath}${fw_path}\nset prefix=$top/boot/grub\n"


def write_archive(tree, to):
    """The files as GRUB's memory disk: sorted, with fixed owners and times."""
    def plain(member):
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = mkiso.EPOCH
        return member

    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(os.path.join(tree, "boot"), "boot", filter=plain)  # in the order of names


def grub(form, out, prefix, modules, *more):
    r = subprocess.run(["grub-mkimage", "-O", form, "-o", out, "-p", prefix, *more, *MODULES.split(), *modules.split()],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=mkiso.GRUB_ENVIRONMENT)
    if r.returncode:
        mkiso.fail("grub-mkimage failed:\n" + r.stdout)


def put(tree, out):
    """Replaces what is ours in `out`."""
    os.makedirs(out, exist_ok=True)
    for name in OURS:
        path = os.path.join(out, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        shutil.move(os.path.join(tree, name), path)


def make(build, config_path, out, **how):
    """`how`: see mkiso.write_tree()."""
    if os.path.isdir(out) and set(os.listdir(out)) - set(OURS):
        mkiso.fail(f"{out} has other files in it: name a directory of its own")
    with tempfile.TemporaryDirectory(dir=build) as work:
        tree = os.path.join(work, "tree")
        archive, early = os.path.join(work, "boot.tar"), os.path.join(work, "early.cfg")
        mkiso.write_tree(tree, build, config_path, **how)
        write_archive(tree, archive)
        with open(early, "w", encoding="ascii") as f:
            f.write(EARLY)
        grub("x86_64-efi", os.path.join(tree, "bulkhead.efi"), "(memdisk)/boot/grub", "memdisk tar all_video", "-m", archive)
        grub("i386-pc-pxe", os.path.join(tree, "bulkhead.0"), "/boot/grub", "pxe tftp", "-c", early)
        put(tree, out)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build", help="where bulkhead.elf and mgmt.elf are")
    p.add_argument("--config", required=True, help="guests.json")
    p.add_argument("--out", required=True, help="the directory to write")
    a = p.parse_args()
    make(a.build, a.config, a.out)
    mkiso.tell_errors(a.build, a.config)
    print(f"{a.out}: bulkhead.efi ({os.path.getsize(os.path.join(a.out, 'bulkhead.efi')) / 1048576:.1f} MiB), bulkhead.0 and boot/")


if __name__ == "__main__":
    main()
