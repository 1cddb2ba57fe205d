"""The ISO as a USB stick, and `make netboot`, by every firmware and protocol that QEMU has. The kernel's first words prove the way there: a machine that can run
guests says more, but not before these."""
import os
import re
import shutil
import subprocess
import sys

import pytest

import machine
import mknetboot
from appliance import BUILD, Tcg

UEFI = ["-bios", machine.OVMF]
RANDOM = ["-device", "virtio-rng-pci"]  # without it, or RDRAND, Debian 13's OVMF (2025.02) has no network


@pytest.fixture(scope="module")
def netboot(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("netboot") / "tree")
    mknetboot.make(BUILD, "iso/guests.json", out)
    return out


@pytest.fixture
def qemu(tmp_path):
    """qemu(arguments): boots to the kernel's first words."""
    running = []

    def boot(*arguments, shell=""):
        """`shell`: what else runs, in a network namespace of its own together with QEMU."""
        running.append(Tcg(tmp_path, *arguments, wrapper=[*NAMESPACE, "sh", "-ec", shell + 'exec "$@"', "sh"] if shell else ()))
        with open(os.path.join(BUILD, "gen", "version.h"), encoding="ascii") as f:
            version, build_id = re.findall(r'BULKHEAD_\w+ "(.*)"', f.read())
        running[-1].wait_serial(re.escape(f"Bulkhead {version} ({build_id})"))

    yield boot
    for m in running:
        m.stop()


@pytest.mark.parametrize("firmware", [[], UEFI], ids=["bios", "uefi"])
def test_usb_stick(qemu, firmware):
    iso = os.path.abspath(os.path.join(BUILD, "bulkhead.iso"))
    qemu(*firmware, "-nic", "none", "-drive", f"if=none,id=stick,format=raw,readonly=on,file={iso}", "-device", "qemu-xhci", "-device", "usb-storage,drive=stick")


@pytest.mark.parametrize("model, root, directory", [("e1000", os.path.dirname, "tree/"), ("virtio-net-pci", str, "")])
def test_pxe_bios(qemu, netboot, model, root, directory):
    """The directory may be anywhere on the server."""
    qemu("-boot", "n", "-nic", f"user,model={model},tftp={root(netboot)},bootfile={directory}bulkhead.0")


def test_pxe_uefi(qemu, netboot):
    qemu(*UEFI, *RANDOM, "-M", "q35", "-nic", f"user,model=virtio-net-pci,tftp={netboot},bootfile=bulkhead.efi")


NAMESPACE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
SERVERS = """
ip tuntap add tap0 mode tap; ip address add 10.9.0.1/24 dev tap0; ip link set tap0 up
dnsmasq --conf-file=/dev/null --user=root --keep-in-foreground --pid-file= --port=0 --interface=tap0 --bind-interfaces --dhcp-leasefile={directory}/leases \
    --log-facility={directory}/dnsmasq.txt --dhcp-range=10.9.0.50,10.9.0.60 --dhcp-match=set:http,option:client-arch,16 \
    --dhcp-option-force=tag:http,60,HTTPClient --dhcp-boot=tag:http,http://10.9.0.1:8000/bulkhead.efi &
"{python}" -m http.server --bind 10.9.0.1 --directory "{files}" 8000 &
"""


def can_tap():
    """Whether this computer has what the test needs."""
    return shutil.which("dnsmasq", path=os.defpath + ":/usr/sbin") is not None and os.access("/dev/net/tun", os.R_OK | os.W_OK) and \
        subprocess.run([*NAMESPACE, "ip", "tuntap", "add", "tap0", "mode", "tap"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_tap(), reason="needs dnsmasq, /dev/net/tun and a network namespace")
def test_http_uefi(qemu, netboot, tmp_path, monkeypatch):
    """Without PXE, which this firmware would try first."""
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin")
    no_pxe = [a for version in (4, 6) for a in ("-fw_cfg", f"name=opt/org.tianocore/IPv{version}PXESupport,string=n")]
    qemu(*UEFI, *RANDOM, "-M", "q35", *no_pxe, "-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n,bootindex=1,romfile=",
         shell=SERVERS.format(directory=tmp_path, python=sys.executable, files=netboot))


def test_same_bytes(netboot, tmp_path):
    mknetboot.make(BUILD, "iso/guests.json", str(tmp_path / "again"))
    subprocess.run(["diff", "-r", netboot, tmp_path / "again"], check=True)


def test_directory_with_other_files(tmp_path):
    """Nothing of anybody else's is removed."""
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SystemExit, match="other files"):
        mknetboot.make(BUILD, "iso/guests.json", str(tmp_path))
    assert os.listdir(tmp_path) == ["mine"]
