"""make bench: what things cost, in ticks, in Bochs with one CPU and sync=none, where a tick is an instruction: the same figures every time."""
import argparse
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tools"), os.path.join(HERE, "..", "boot")]

AIMS = {"cpuid": 100, "vmcall": None, "rdmsr": None, "in-pic": 200, "out-unclaimed": 150, "timer-wake": 300, "timer-wake-mean": None, "timer-wake-worst": None}


def exits(directory, kernel):
    """What the guest `bench` measured."""
    from appliance import Appliance
    m = Appliance(directory, {"guests": [{"name": "bench", "image": "guests/bench.elf", "memory": "4M"}]}, cpus=1, wait=False, kernel=kernel)
    try:
        m.wait_serial(r"bench: done")
        return {name: int(re.search(rf"bench: {name} (\d+)", m.serial()).group(1)) for name in AIMS}
    finally:
        m.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build")
    a = p.parse_args()
    os.environ["BULKHEAD_BUILD"] = a.build
    from appliance import Appliance
    import https
    import management
    rows = []
    with tempfile.TemporaryDirectory() as d:
        ticks = exits(d, "bulkhead.elf")
        rows += [(name, f"{ticks[name]} ticks", f"aim {aim}" if aim else "") for name, aim in AIMS.items()]
    with tempfile.TemporaryDirectory() as d:
        bare = exits(d, "unrecorded/bulkhead.elf")
        cost = {name: ticks[name] - bare[name] for name in ("cpuid", "vmcall", "rdmsr", "in-pic", "out-unclaimed")}
        rows.append(("recorder and counters, an exit", ", ".join(f"{name} {n}" for name, n in cost.items()) + " ticks", "aim 40"))
    with tempfile.TemporaryDirectory() as d:
        m = Appliance(d, {"guests": [{"name": "control", "image": "guests/control.elf", "memory": "4M", "weight": 200},
                                     {"name": "hog", "image": "guests/hog.elf", "memory": "4M"}]}, cpus=1)
        try:
            match = m.wait_serial(r"control: second 5, periods 1000, missed (\d+), late max (\d+) mean (\d+)")
            rows.append(("control beside hog", f"missed {match.group(1)}, late max {match.group(2)} mean {match.group(3)} ticks", ""))
            host = m.get("/v1/host")
            rows.append(("slice-end lateness, worst", f"{host['cores'][0]['slice_late_max_ticks']} ticks", ""))
            rows.append(("kernel entry to first guest entry", f"{host['boot_to_first_entry_ticks']} ticks", ""))
            dump = m.get("/v1/guests/hog/vcpus/0/vmcs")
            rows.append(("VMCS snapshot", f"{dump['snapshot_ticks']} ticks", "aim 12000"))
        finally:
            m.stop()
    with tempfile.TemporaryDirectory() as d:
        m = Appliance(d, cpus=4)
        try:
            memory = m.get("/v1/host")["memory"]
            own = memory["host"] + memory["shared"] + memory["tables"] + m.guest("mgmt")["configuration"]["memory"]
            rows.append(("host memory, 4 cores, with mgmt", f"{own / 2**20:.1f} MB", "aim 20"))
        finally:
            m.stop()
    rows += https.rows()
    rows += management.rows()
    rows.append(("ISO", f"{os.path.getsize(os.path.join(a.build, 'bulkhead.iso')) / 2**20:.1f} MB", "aim 8"))
    for name, value, aim in rows:
        print(f"{name:34} {value:44} {aim}")


if __name__ == "__main__":
    main()
