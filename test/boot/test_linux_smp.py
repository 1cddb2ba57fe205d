"""Debian's unmodified cloud kernel finds and uses four vCPUs by what is in its guest's memory: nothing on its command line but where its console is."""
import appliance

LINUX = {"name": "linux", "image": "linux/vmlinuz", "cmdline": "console=ttyS0", "memory": "256M", "vcpus": 4, "cores": [0, 1, 2, 3],
         "modules": [{"file": "linux/initramfs"}]}


def test_four_vcpus(start):
    m = start({"guests": [LINUX]}, cpus=5, memory=512)
    m.wait_serial(r"\[linux\] linux: ready, 6\.\d", limit=900)
    m.wait_for("/v1/guests/linux/console?format=json", lambda c: appliance.PROMPT.search(c["text"]), "no prompt")
    # All at once, each on a CPU of its own; then what each CPU has taken.
    m.type("linux", "for i in 0 1 2 3; do taskset $((1 << i)) sh -c 'read a < /proc/self/stat; set -- $a; shift 38; echo ran on $1' & done; wait; grep -E 'RES|CAL' /proc/interrupts; echo all $((40 + 2))\n")
    m.wait_serial(r"\[linux\] all 42", limit=300)
    text = m.serial()
    assert "Brought up 1 node, 4 CPUs" in text, text[-6000:]
    assert all(f"ran on {i}" in text for i in range(4)), text[-2000:]
    vcpus = m.guest("linux")["vcpus"]
    assert [v["core"] for v in vcpus] == [0, 1, 2, 3] and all(v["interrupts"] > 0 and v["activity"] != "wait-for-SIPI" for v in vcpus), vcpus
