"""State that the VMCS does not switch (FPU and vector state, SYSCALL MSRs, debug registers, CR2) stays each guest's own, even if several share a core."""
import re

import pytest


def registers(name, seed):
    return {"name": name, "image": "guests/registers.elf", "memory": "4M", "cmdline": str(seed)}


@pytest.fixture(scope="module")
def m(start_on_both):
    """Guests whose numbers make them differ in XCR0."""
    return start_on_both({"guests": [registers("one", 1), registers("two", 2), registers("three", 3), {"name": "hog", "image": "guests/hog.elf", "memory": "2M"},
                             {"name": "pages", "image": "guests/pages.elf", "memory": "10M", "cmdline": "5"}]}, cpus=1)


def rounds(m, name, at):
    """The number of wrong registers so far, after the next ten rounds."""
    return int(m.wait_serial(rf"\[{name}\] registers: \d+ rounds, (\d+) wrong", at)[1])


def text_of(m, name):
    return m.request("GET", f"/v1/guests/{name}/console")[2]


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_they_stay(m, name):
    assert rounds(m, name, len(m.serial())) == 0, text_of(m, name)
    assert m.guest(name)["vcpus"][0]["slice_ends"] > 10


def test_nothing_is_left_of_others(m):
    """A guest that starts on a core where others have used all registers."""
    at = len(m.serial())
    m.request("POST", "/v1/guests/two/actions", '{"action": "reset"}')
    # The guests count what is wrong from their first look on. A line of theirs that says so may be in two parts, with another guest's in between.
    at = m.wait_serial(r"guest two: started", at).end()
    for name in ("one", "two", "three"):
        assert rounds(m, name, at) == 0, text_of(m, name)


PAGES = r"pages: 4 of 2 MB executed, first call (\d+) ticks, others (\d+), (\d+) wrong"


def pages_say(m, life):
    """What the guest `pages` says in this life of its. On its own console: on the serial line another guest's output may come in the middle of a line."""
    answer = m.wait_for("/v1/guests/pages/console?format=json", lambda a: len(re.findall(PAGES, a["text"])) >= life, "the guest's figures")
    return map(int, re.findall(PAGES, answer["text"])[life - 1])


def test_large_pages_are_split_when_they_are_executed(m):
    """Bochs's models lack PSCHANGE_MC_NO. Each 2 MB page is split once, keeps its contents, and the split takes little time. AMD's CPUs need no splits."""
    first, others, wrong = pages_say(m, 1)
    guest = m.guest("pages")
    if m.emulator == "qemu":
        assert not m.get("/v1/host")["nx_large"] and wrong == guest["large_pages_split"] == 0
        return
    assert m.get("/v1/host")["nx_large"] and wrong == 0
    assert guest["large_pages_split"] == guest["vcpus"][0]["exits"]["EPT_VIOLATION"] == 5  # including the kernel's own page
    assert others < first < 1000, (first, others)
    assert f'bulkhead_guest_large_pages_split_total{{guest="pages"}} 5\n' in m.request("GET", "/metrics")[2]
    # They stay split: its next life executes the same ones.
    m.request("POST", "/v1/guests/pages/actions", '{"action": "reset"}')
    first, others, wrong = pages_say(m, 2)
    assert wrong == 0 and first < 100 and m.guest("pages")["large_pages_split"] == 5
