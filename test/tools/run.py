"""make run: boots the ISO, shows the serial console, says where the management page is. Ctrl-C ends everything."""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine


def emulator_command(kind, directory, a):
    if kind == "bochs":
        return machine.bochs_command(directory, a.iso, a.cpus, a.memory, a.port, sync="slowdown", https_port=a.https_port, rom=machine.OVMF if a.firmware == "uefi" else machine.BIOS)
    accel, board = (("kvm", "host"), "pc") if kind == "kvm" else (("tcg", "EPYC"), "q35")
    more = ["-action", "reboot=reset", *(["-bios", machine.OVMF] if a.firmware == "uefi" else [])]
    return machine.qemu_command(directory, a.iso, a.cpus, a.memory, a.port, a.https_port, accel, board, more=more)


TOKEN = r"admin token of this boot: ([a-z2-7]+)\n"
FINGERPRINT = r"management certificate: sha256 ([0-9A-F:]{95})"


def directions(address, token, fingerprint, a):
    """How it is reached from this computer. 127.0.0.1 is not in the certificate: bhctl compares the fingerprint, curl believes."""
    https = address.startswith("https://")
    url = f"https://127.0.0.1:{a.https_port}" if https else f"http://127.0.0.1:{a.port}"
    header = f'-H "Authorization: Bearer {token}" ' if token else ""
    variables = [f"BULKHEAD_URL={url}", token and f"BULKHEAD_TOKEN={token}", https and fingerprint and f"BULKHEAD_FINGERPRINT={fingerprint}"]
    return (f">>> in a browser: {url}/{f'   and sign in with {token}' if token else ''}\n"
            f">>> for build/bhctl: export {' '.join(filter(None, variables))}\n"
            f">>> from this computer: curl {header}{'-k ' if https else ''}{url}/v1/guests\n")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build")
    p.add_argument("--iso", required=True)
    p.add_argument("--check", action="store_true", help="only say what would be in the way")
    p.add_argument("--cpus", type=int, default=4)
    p.add_argument("--memory", type=int, default=512, help="MiB")
    p.add_argument("--port", type=int, default=8080, help="of this computer, for the management page")
    p.add_argument("--https-port", type=int, default=8443, help="of this computer, for the same over HTTPS")
    p.add_argument("--machine", choices=("auto", "bochs", "kvm", "qemu"), default="auto")
    p.add_argument("--firmware", choices=("bios", "uefi"), default="bios")
    a = p.parse_args()
    if a.cpus not in (1, 2, 4, 8):
        sys.exit("run: CPUS must be 1, 2, 4 or 8")
    if not 128 <= a.memory <= 2048:
        sys.exit("run: MEM must be 128 to 2048 (MiB)")
    for name, port in (("PORT", a.port), ("HTTPS_PORT", a.https_port)):
        if not 1 <= port <= 65535:
            sys.exit(f"run: {name} must be 1 to 65535")
        if not machine.port_is_free(port):
            sys.exit(f"run: port {port} is in use; choose another with `make run {name}=...`")
    kind = a.machine if a.machine != "auto" else "kvm" if machine.nested_kvm() else "bochs"
    emulator = "bochs" if kind == "bochs" else "qemu-system-x86_64"
    if not shutil.which(emulator):
        sys.exit(f"run: {emulator} is not installed")
    if kind == "kvm" and not machine.nested_kvm():
        sys.exit("run: this computer has no KVM with nested VT-x or SVM (`nested` and `ept` or `npt` in /sys/module/kvm_*/parameters/, and access to /dev/kvm); use MACHINE=bochs or MACHINE=qemu")
    if a.firmware == "uefi" and not os.path.exists(machine.OVMF):
        sys.exit(f"run: FIRMWARE=uefi needs {machine.OVMF}, which Debian's package ovmf has")
    if a.check:
        return
    directory = os.path.join(a.build, "run")
    shutil.rmtree(directory, ignore_errors=True)
    command = emulator_command(kind, directory, a)
    print(f"{kind}, {a.firmware.upper()}, {a.cpus} cores, {a.memory} MiB. When the console says so, open https://127.0.0.1:{a.https_port}/   (Ctrl-C ends)", flush=True)
    log = os.path.join(directory, f"{emulator}.log")
    # Bochs writes its log itself, and its menus to the console.
    with open(os.devnull if kind == "bochs" else log, "wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    try:
        with open(os.path.join(directory, "serial.txt"), "rb") as serial:
            seen, token, fingerprint = "", None, None
            while True:
                data = serial.read()
                if data:
                    text = data.decode("utf-8", "replace").replace("\r", "")
                    sys.stdout.write(text)
                    seen = (seen + text)[-65536:]
                    token = (re.findall(TOKEN, seen) or [token])[-1]
                    fingerprint = (re.findall(FINGERPRINT, seen) or [fingerprint])[-1]
                    address = re.search("management address: (.*)\n", seen)
                    if address:
                        sys.stdout.write(directions(address[1], token, fingerprint, a))
                        seen = ""
                    sys.stdout.flush()
                elif process.poll() is not None:
                    sys.exit(f"run: the emulator ended (status {process.returncode}); its log is {log}")
                else:
                    time.sleep(0.05)
    except (KeyboardInterrupt, BrokenPipeError):
        print()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


if __name__ == "__main__":
    main()
