"""Deployment by the page, against the stand-in of test_page_session.py: what is sent, how refusals are shown, and that a failed deployment leaves nothing
behind."""
import json
import os
import time

import pytest
from selenium.webdriver.support.ui import Select

from test_page import browser, limit  # noqa: F401 (a fixture)
from test_page_session import api, page  # noqa: F401 (fixtures)

with open("iso/guests.schema.json", encoding="utf-8") as schema:
    DEVICES = json.load(schema)["properties"]["guests"]["items"]["properties"]["devices"]
USUAL = DEVICES["default"]


def choose(page, selector, tmp_path, name, data=b"x" * 5000):
    path = tmp_path / name
    path.write_bytes(data)
    page.one(selector).send_keys(str(path))


def fill(page, **fields):
    for name, text in fields.items():
        control = page.one(f"#deploy-{name}")
        if control.tag_name == "select":
            Select(control).select_by_visible_text(text)
        else:
            control.clear()
            control.send_keys(text)


def submit(page):
    page.one(".deploy [type=submit]").click()


def drop(page, selector, *files):
    page.js("""(() => { const t = new DataTransfer(); arguments[1].forEach(([name, text]) => t.items.add(new File([text], name)));
               for (const type of ["dragover", "drop"])
                   document.querySelector(arguments[0]).dispatchEvent(new DragEvent(type, {dataTransfer: t, bubbles: true, cancelable: true})); })()""", selector, files)


def changes(api):
    return [(a[0], a[1].removeprefix("/v1/")) for a in api.asked if a[0] != "GET"]


def posted(api):
    return [json.loads(a[3]) for a in api.asked if a[0] == "POST"]


def test_deploy(page, api, tmp_path):  # noqa: F811
    data = os.urandom(3 << 20)
    page.open("deploy")
    page.one("[data-image='echo.elf']")
    choose(page, "#deploy-image", tmp_path, "My kernel (1).ELF", data)
    assert page.js("document.getElementById('deploy-name').value") == "my-kernel-1"
    page.wait(lambda: len(page.all("#deploy-core option")) == 3, "the cores")
    fill(page, name="rtos", memory="32M", cmdline="a=b 'c d'", restart="on failure", core="core 1")
    page.one(".deploy [value=net]").click()
    submit(page)
    page.wait(lambda: "#/guest/rtos/console" in page.driver.current_url, "the new guest's console")
    put = [a for a in api.asked if a[0] == "PUT"]
    assert changes(api) == [("PUT", "images/rtos-My_kernel__1_.ELF"), ("POST", "guests")] and put[0][3] == data
    assert posted(api) == [{"name": "rtos", "image": "rtos-My_kernel__1_.ELF", "memory": "32M", "restart": "on-failure", "core": 1, "cmdline": "a=b 'c d'",
                            "devices": [d for d in DEVICES["items"]["enum"] if d in [*USUAL, "net"]]}]


def test_modules(page, api, tmp_path):  # noqa: F811
    """Linux: a kernel, its initrd from a file, and an existing image, each with arguments; two files with the same name."""
    page.open("deploy")
    page.one("[data-image='echo.elf']")
    choose(page, "#deploy-image", tmp_path, "vmlinuz")
    for _ in range(3):
        page.one("#deploy-modules > button").click()
    (tmp_path / "b").mkdir()
    choose(page, ".modules li:nth-child(1) [type=file]", tmp_path / "b", "vmlinuz", b"initrd")
    page.one(".modules li:nth-child(1) [type=text]").send_keys("a 1")
    Select(page.one(".modules li:nth-child(3) select")).select_by_value("echo.elf")
    submit(page)
    page.wait(lambda: page.text(".modules li:nth-child(2) .error:not([hidden])").startswith("choose a file"), "that one is not chosen")
    assert page.js("document.activeElement.closest('li') === document.querySelector('.modules li:nth-child(2)')") and changes(api) == []
    page.one(".modules li:nth-child(2) button").click()
    page.one("#deploy-disks > button").click()
    choose(page, "#deploy-disks li:nth-child(1) [type=file]", tmp_path / "b", "root.img", b"disk")
    page.one("#deploy-disks > button").click()
    Select(page.one("#deploy-disks li:nth-child(2) select")).select_by_value("echo.elf")
    page.one("#deploy-disks li:nth-child(2) [type=checkbox]").click()
    fill(page, name="linux")
    submit(page)
    page.wait(lambda: "#/guest/linux/console" in page.driver.current_url, "the new guest's console")
    assert changes(api) == [("PUT", "images/linux-vmlinuz"), ("PUT", "images/linux-vmlinuz-2"), ("PUT", "images/linux-root.img"), ("POST", "guests")]
    assert posted(api)[0]["modules"] == [{"file": "linux-vmlinuz-2", "args": "a 1"}, {"file": "echo.elf", "args": ""}]
    assert posted(api)[0]["disks"] == [{"file": "linux-root.img"}, {"file": "echo.elf", "readonly": True}]


def test_advanced(page, api):  # noqa: F811
    page.open("deploy")
    page.one("[data-image='echo.elf']")
    fill(page, stored="echo.elf")
    assert page.js("document.getElementById('deploy-name').value") == "echo"
    page.one(".advanced summary").click()
    numbers = {"weight": 250, "slice_us": 500, "budget_us": 4000, "period_us": 20000, "guaranteed_us": 1000, "restart_limit": 3, "watchdog_ms": 500}
    fill(page, **{k: str(v) for k, v in numbers.items()}, paused_clock="runs", exit_profile="least", kind="flat", network="plant", addresses="10.1.0.5, fd00::5",
         uplink="no", broadcasts_per_second="9")
    page.one("#deploy-allow [value=router-advertisements]").click()
    fill(page, weight="many")
    page.one(".advanced summary").click()
    submit(page)
    page.wait(lambda: page.one("#weight-error").text == "must be a whole number", "that it is none")
    fill(page, weight="250")
    submit(page)
    page.wait(lambda: "#/guest/echo/console" in page.driver.current_url, "the new guest's console")
    assert posted(api) == [{"name": "echo", "image": "echo.elf", "memory": "16M", **numbers, "paused_clock": "runs", "exit_profile": "least", "kind": "flat",
                            "net": {"network": "plant", "uplink": False, "addresses": ["10.1.0.5", "fd00::5"], "allow": ["router-advertisements"], "broadcasts_per_second": 9}}]


POINTERS = {"/memory": "deploy-memory", "/name": "deploy-name", "/image": "deploy-image", "/core": "deploy-core", "/cmdline": "deploy-cmdline",
            "/restart": "deploy-restart", "/devices/1": "deploy-devices", "/weight": "deploy-weight", "/guaranteed_us": "deploy-guaranteed_us",
            "/paused_clock": "deploy-paused_clock", "/modules": "deploy-modules", "/modules/0/file": "deploy-module-1", "/modules/7/file": "deploy-modules",
            "/net/addresses": "deploy-addresses", "/net": "deploy-network",
            "/constructor": None, "/": None, None: None}


@pytest.mark.parametrize("pointer", POINTERS)
def test_refused(page, api, pointer):  # noqa: F811
    """The API's message appears at the field that it is about."""
    api.refusal = (409, "1:54: memory: <b>memory</b> is short: 6 MiB are free", pointer)
    page.open("deploy")
    page.one("[data-image='echo.elf']")
    fill(page, stored="echo.elf")
    page.one("#deploy-modules > button").click()
    Select(page.one(".modules select")).select_by_value("echo.elf")
    submit(page)
    page.wait(lambda: "is short" in page.text(".deploy .error:not([hidden])"), "the refusal")
    shown, = page.all(".deploy .error:not([hidden])")
    assert shown.is_displayed() and shown.text.removeprefix("1:54: memory: ") == "<b>memory</b> is short: 6 MiB are free"
    invalid = [e.get_attribute("id") for e in page.all("[aria-invalid=true]")]
    if POINTERS[pointer]:
        assert invalid == [POINTERS[pointer]] and page.js("document.activeElement.id") == invalid[0]
        assert page.one("#" + invalid[0]).get_attribute("aria-describedby") == shown.get_attribute("id") and not shown.text.startswith("1:54")
    else:
        assert invalid == []
    submit(page)
    page.wait(lambda: "#/guest/echo/console" in page.driver.current_url, "the second try")


def test_arguments_refused(page, api):  # noqa: F811
    api.refusal = (400, "too long", "/modules/0/args")
    page.open("deploy")
    page.one("[data-image='echo.elf']")
    fill(page, stored="echo.elf")
    page.one("#deploy-modules > button").click()
    Select(page.one(".modules select")).select_by_value("echo.elf")
    submit(page)
    page.wait(lambda: page.text(".modules .error:not([hidden])") == "too long", "the refusal")
    assert page.all("[aria-invalid=true]") == page.all(".modules [type=text]")


def test_names(page, api, tmp_path):  # noqa: F811
    """Invalid input is reported before anything is sent; an image in use keeps its name."""
    page.open("deploy")
    page.one("[data-image='echo.elf']")
    submit(page)
    page.wait(lambda: "lower-case" in page.text("#name-error"), "that the name is missing")
    choose(page, "#deploy-image", tmp_path, ".Ünïx-kernel.v2.elf" + "x" * 80)
    assert page.js("document.getElementById('deploy-name').value") == "n-x-kernel-v2"
    for name, problem in (("Big", "lower-case"), ("hog", "there is a guest of this name")):
        fill(page, name=name)
        submit(page)
        page.wait(lambda problem=problem: problem in page.text("#name-error"), problem)
    assert changes(api) == []
    api.images.append({"name": "a" * 31 + "-" + "k" * 31, "size": 1, "sha256": None, "source": "upload", "used_by": ["other"]})
    page.wait(lambda: len(page.all("[data-image]")) == 2, "the image that is there")
    choose(page, "#deploy-image", tmp_path, "k" * 80)
    fill(page, name="a" * 31)
    submit(page)
    page.wait(lambda: "/console" in page.driver.current_url, "the new guest's console")
    assert changes(api)[0] == ("PUT", "images/" + "a" * 31 + "-" + "k" * 29 + "-2")  # 63 characters


def test_retry(page, api, tmp_path):  # noqa: F811
    """If the guest is refused, a retry does not upload its files again."""
    api.refusal = (409, "short", "/memory")
    page.open("deploy")
    choose(page, "#deploy-image", tmp_path, "k.elf")
    submit(page)
    page.wait(lambda: page.text("#memory-error") == "short", "the refusal")
    assert page.text(".status") == "Kept for the next try: k-k.elf"
    fill(page, name="other")
    submit(page)
    page.wait(lambda: "#/guest/other/console" in page.driver.current_url, "the second try")
    assert changes(api) == [("PUT", "images/k-k.elf"), ("POST", "guests"), ("POST", "guests")] and posted(api)[-1]["image"] == "k-k.elf"
    page.open("deploy")
    page.one("[data-image='k-k.elf']")


@pytest.mark.parametrize("way", ["button", "leave", "another file", "there before"])
def test_nothing_is_left(page, api, tmp_path, way):  # noqa: F811
    """Uploads for a refused guest are removed, but not an earlier upload of others under the same name."""
    if way == "there before":
        api.images.append({"name": "k-k.elf", "size": 1, "sha256": None, "source": "upload", "used_by": []})
    api.refusal = (409, "short", "/memory")
    page.open("deploy")
    choose(page, "#deploy-image", tmp_path, "k.elf")
    submit(page)
    page.wait(lambda: page.text("#memory-error") == "short", "the refusal")
    if way == "button":
        [b for b in page.all(".deploy button") if b.text == "Remove what was sent"][0].click()
    elif way == "another file":
        choose(page, "#deploy-image", tmp_path, "other.elf")
        submit(page)
        page.wait(lambda: "#/guest/k/console" in page.driver.current_url, "the new guest's console")
        assert changes(api)[2:] == [("DELETE", "images/k-k.elf"), ("PUT", "images/k-other.elf"), ("POST", "guests")]
        return
    else:
        page.js("void (location.hash = '#/log')")
        page.one(".ring")
    if way == "there before":
        time.sleep(1.5)
        assert [i["name"] for i in api.images] == ["echo.elf", "k-k.elf"]
    else:
        page.wait(lambda: [i["name"] for i in api.images] == ["echo.elf"], "that nothing is left")


def begin(page, api, tmp_path):  # noqa: F811
    """An upload that makes no progress."""
    api.go.clear()
    page.open("deploy")
    choose(page, "#deploy-image", tmp_path, "large.elf", b"x" * (24 << 20))
    submit(page)
    page.wait(lambda: api.begun, "the upload")
    page.wait(lambda: "sent" in page.text(".status"), "how far it is")


def test_cancel(page, api, tmp_path):  # noqa: F811
    begin(page, api, tmp_path)
    [b for b in page.all(".deploy button") if b.text == "Cancel"][0].click()
    page.wait(lambda: page.text(".status").startswith("Given up"), "the end")
    api.go.set()
    submit(page)
    page.wait(lambda: "#/guest/large/console" in page.driver.current_url, "the second try")
    assert changes(api) == [("PUT", "images/large-large.elf"), ("POST", "guests")] and len(api.begun) == 2


def test_leaving_while_it_is_sent(page, api, tmp_path):  # noqa: F811
    """The page asks first; a user who has left is not pulled back."""
    begin(page, api, tmp_path)
    page.js("void (location.hash = '#/log')")
    page.driver.switch_to.alert.dismiss()
    page.wait(lambda: page.driver.current_url.endswith("#/deploy") and page.all(".deploy progress:not([hidden])"), "that it goes on")
    page.js("void (location.hash = '#/log')")
    page.driver.switch_to.alert.accept()
    page.one(".ring")
    api.go.set()
    time.sleep(2)
    assert page.driver.current_url.endswith("#/log") and changes(api) == [] and len(api.images) == 1


def test_upload_that_stalls(page, api, tmp_path):  # noqa: F811
    begin(page, api, tmp_path)
    asks = "(() => { const e = new Event('beforeunload', {cancelable: true}); dispatchEvent(e); return e.defaultPrevented; })()"
    assert page.js(asks)  # what the browser asks when its window is closed
    [b for b in page.all(".deploy button") if b.text == "Cancel"][0].click()
    page.wait(lambda: page.text(".status").startswith("Given up") and not page.js(asks), "the end")
    limit(page, "stallMs", 1500)
    submit(page)
    page.wait(lambda: "nothing has got through for 2 s" in page.text("#image-error"), "that it does not get on")
    limit(page, "stallMs", 60000)
    api.go.set()
    api.special["PUT /v1/images/large-large.elf"] = lambda _: (502, None)  # not from the appliance: no JSON in it
    submit(page)
    page.wait(lambda: page.text("#image-error") == "status 502", "what became of it")


def test_drop_and_images(page, api):  # noqa: F811
    page.open("deploy")
    page.one("[data-image='echo.elf'] [aria-disabled=true]").click()
    assert "came with the ISO" in page.one("[data-delete='echo.elf']").get_attribute("title")
    drop(page, ".deploy", ("dropped.bin", "x" * 5000))
    assert page.js("document.getElementById('deploy-name').value") == "dropped"
    assert page.js("document.getElementById('deploy-image').files[0].name") == "dropped.bin"
    submit(page)
    page.wait(lambda: "#/guest/dropped/console" in page.driver.current_url, "the new guest")
    api.images[-1]["used_by"] = []
    page.open("deploy")
    page.asks("[data-delete='dropped-dropped.bin']").accept()
    page.wait(lambda: not page.all("[data-image='dropped-dropped.bin']"), "that it is gone")
    assert changes(api)[-1] == ("DELETE", "images/dropped-dropped.bin")


def test_drop_anywhere(page, api):  # noqa: F811
    """A kernel and its initrd, dropped outside the form: the browser stays on the page, and the form gets them."""
    page.open("log")
    page.one(".ring")
    drop(page, "header", ("initrd.img", "i"), ("bzImage", "k"))
    page.wait(lambda: page.driver.current_url.endswith("#/deploy"), "the form")
    assert page.js("document.getElementById('deploy-image').files[0].name") == "bzImage"
    assert page.js("document.querySelector('.modules [type=file]').files[0].name") == "initrd.img"
    assert page.js("document.getElementById('deploy-name').value") == "bzimage"
    drop(page, ".modules [type=file]", ("other.gz", "i"))
    drop(page, "#modules-label", ("more", "i"))
    drop(page, ".images", ("third-kernel", "k"))
    assert page.js("[...document.querySelectorAll('.deploy [type=file]')].map((i) => i.files[0].name)") == ["third-kernel", "other.gz", "more"]
