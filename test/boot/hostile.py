"""A control loop with a guaranteed share of its core runs next to one hostile neighbour after another, then while a compromised management guest
(test/guests/usurper.c, which also keeps count) plagues all guests, then next to all neighbours at once, then while management makes random calls, which a
guest that watches its memory must survive too."""
import re

PESTS = ("loop", "insl", "outsl", "uart", "chains", "frames", "timers", "die")
ROUNDS = (*PESTS, "requests", "all", "anything")
PERIODS = 10000  # of the control loop in each round
# (missed, worst end of its own slices) on one core and on four, before work was bounded by time.
BEFORE = {"loop": ((0, 152), None), "insl": ((27532, 174041), None), "outsl": ((21534, 87959), None), "uart": ((18300, 36490), None), "chains": ((14657, 87929), None),
          "frames": ((0, 13903), None), "timers": ((0, 616), None), "die": ((0, 307), None), "requests": ((0, 2029), None), "all": ((6507, 4575), None), "anything": (None, None)}
LIMIT = 1700  # seconds of real time after which a run counts as hung


def config(cpus):
    """With one core, all share it. With four, management has its own core and the last pest two others."""
    core = 0 if cpus == 1 else 1
    guests = [{"name": "control", "image": "guests/control.elf", "memory": "2M", "core": core, "guaranteed_us": 300, "period_us": 1000}]
    for what in PESTS:
        guests.append({"name": what, "image": "guests/hostile.elf", "memory": "2M", "core": core, "cmdline": what, "restart": "always",
                       "devices": ["uart", "pic", "pit", "rtc", "reset", "exit"] + ["net"] * (what in ("chains", "frames"))})
    guests.append({"name": "canary", "image": "guests/isolation.elf", "memory": "4M", "core": core, "cmdline": "canary"})
    return {"guests": guests, "management": {"core": 0}}


def rounds(m, seen=lambda name: None):
    """{round: (periods, missed, worst slice end in ticks)} of a machine started with config() and the usurper as its management guest. The worst is that of
    all rounds so far."""
    found, at = {}, 0
    for name in ROUNDS:
        match = m.wait_serial(rf"usurper: round {name}: periods (\d+), missed (\d+), worst slice end of its own (\d+) ticks, of all so far (\d+)\n", at, limit=LIMIT)
        at = match.end()
        found[name] = tuple(int(x) for x in match.groups())
        seen(name)
    return found
