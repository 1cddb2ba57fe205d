"""Many, sparse and several kinds of hardware threads, in QEMU with its default CPU: the root starts them all before it refuses that CPU, which has no nested paging. And guests on two threads of a core."""
import json
import re

REGISTERS = re.compile(r"RIP=(\w+) .*? HLT=(\d).*?CR0=(\w+) .*?CR4=(\w+)", re.S)
CD_NW, MCE = 0x60000000, 0x40


def halted_by_us(m, cpus):
    """All but the boot core wait in the kernel's own halt loop, which lies from 2 MB on, with caches on and machine checks enabled."""
    all_of_them = REGISTERS.findall(m.monitor("info registers -a"))
    assert len(all_of_them) == cpus
    for rip, hlt, cr0, cr4 in all_of_them[1:]:
        assert hlt == "1" and 2 << 20 <= int(rip, 16) < 4 << 20 and not int(cr0, 16) & CD_NW and int(cr4, 16) & MCE, (rip, hlt, cr0, cr4)
    return len({rip for rip, *_ in all_of_them[1:]}) == 1


def test_72_cores(start_qemu):
    m = start_qemu(cpus=72)
    m.wait_serial(r"core 0: 1 package, 72 physical cores, 72 threads, 1 NUMA node\n")
    m.wait_serial(r"halted; reset")
    assert "does not answer" not in m.serial() and "parked" not in m.serial()
    assert halted_by_us(m, 72)


def test_threads_sockets_and_nodes(start_qemu):
    """Three threads a core: ids 0 1 2 4 5 6 and so on. One of each core would run guests."""
    m = start_qemu(cpus="12,sockets=2,cores=2,threads=3", more=(
        "-object", "memory-backend-ram,id=m0,size=128M", "-object", "memory-backend-ram,id=m1,size=128M",
        "-numa", "node,memdev=m0,cpus=0-5", "-numa", "node,memdev=m1,cpus=6-11"))
    m.wait_serial(r"core 0: 2 packages, 4 physical cores, 12 threads, 2 NUMA nodes\n")
    m.wait_serial(r"core 0: guests run on 4 threads \(smt off\); parked, or without an answer: 8\n")
    m.wait_serial(r"halted; reset")
    assert "does not answer" not in m.serial()
    assert halted_by_us(m, 12)


def test_siblings(start):
    """By default guests run on one thread of a core, and the host's description says what became of the other."""
    m = start({"guests": [], "management": {"auth": "none"}}, cpus="2,cores=1,threads=2", emulator="qemu")
    host = m.get("/v1/host")
    assert len(host["cores"]) == 1 and [(t["thread"], t["state"]) for t in host["topology"]["unused_threads"]] == [(1, "sibling")]


def test_threads_of_one_network(start):
    """Cores 0 and 1 are threads of one physical core, 2 and 3 of another; management is on 3."""
    def guest(name, network, **more):
        return {"name": name, "image": "guests/echo.elf", "memory": "4M", "net": {"network": network}, **more}

    guests = [guest("plc", "plant", core=0), guest("mail", "office", core=1), guest("files", "office"), guest("drive", "plant")]
    m = start({"guests": guests, "smt": "guests-of-one-network", "management": {"auth": "none"}}, cpus="4,cores=2,threads=2", emulator="qemu")
    m.wait_serial(r"core 0: guests run on 4 threads \(smt guests of one network\)")
    threads = m.get("/v1/host")
    assert threads["topology"]["smt"] == m.get("/v1/config")["smt"] == "guests-of-one-network" and threads["topology"]["physical_cores"] == 2
    assert [(c["physical_core"], c["thread"]) for c in threads["cores"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    mail = m.wait_state("mail", "failed")
    assert 'guest "plc" runs on a thread beside core 1 and is not of its network' in mail["why"] and mail["why"] in m.serial()
    assert [m.wait_state(name, "running")["vcpus"][0]["core"] for name in ("plc", "files", "drive")] == [0, 3, 1]  # beside files' is management's core
    status, _, body = m.request("POST", "/v1/guests", json.dumps(guest("late", "office", core=2)))
    assert status == 409 and 'guest \\"mgmt\\" runs on a thread beside core 2' in body, body
    # Where it is free to choose, there is one core that it can have.
    status, _, body = m.request("POST", "/v1/guests", json.dumps(guest("late", "office")))
    assert status == 201 and m.guest("late")["vcpus"][0]["core"] == 3, body
