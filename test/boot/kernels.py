"""Debian's unmodified kernels of any suite, and initial file systems for them, for the boot tests. Fetched as test/systems does, kept in the build directory."""
import glob
import os
import subprocess

import appliance

DIRECTORY = os.path.join(appliance.BUILD, "systems", "packages")


def package(suite, name):
    """The directory of an unpacked package."""
    subprocess.run(["sh", "test/systems/packages.sh", DIRECTORY, suite, name], check=True)
    return os.path.join(DIRECTORY, suite, name)


def content(directory, pattern):
    (path,) = glob.glob(os.path.join(directory, pattern))
    with open(path, "rb") as f:
        return f.read()


def busybox(suite):
    """The path of a static one."""
    (path,) = [p for d in ("bin", "usr/bin") for p in glob.glob(os.path.join(package(suite, "busybox-static"), d, "busybox"))]
    return path


def linux(suite, name, modules):
    """(kernel, initramfs) of a kernel's package, with `modules` and those that they need."""
    directory = package(suite, name)
    initramfs = os.path.join(DIRECTORY, suite, name + ".initramfs")
    subprocess.run(["sh", "test/systems/initramfs.sh", initramfs, busybox(suite), directory, *modules], check=True)
    return content(directory, "boot/vmlinuz-*"), content(os.path.dirname(initramfs), os.path.basename(initramfs))
