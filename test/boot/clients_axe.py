"""axe-core on every view of the page, in both colour schemes, by its default rules: no violation that is serious or critical. "make clients-page" gets axe-core
from the npm registry, as pinned, and runs this; it is no part of the boot tests."""
import os

import pytest
from selenium.webdriver.common.by import By

from appliance import BUILD
from test_page import browser, page  # noqa: F401 (fixtures)
from test_page_looks import VIEWS

AXE = os.path.join(BUILD, "clients", "axe.min.js")
RUN = "const done = arguments[0]; axe.run().then((r) => done(r.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.target.join(' '))])))"


@pytest.fixture(scope="module")
def m(start):
    return start(cpus=2)


def violations(page):  # noqa: F811
    if not page.js("'axe' in window"):
        with open(AXE, encoding="utf-8") as f:
            page.driver.execute_script(f.read())
    return page.driver.execute_async_script(RUN)


def judge(page, where):  # noqa: F811
    found = violations(page)
    for impact, rule, nodes in found:
        print(f"{where}: {impact}: {rule}: {len(nodes)}, as {nodes[0]}")
    assert [f for f in found if f[0] in ("serious", "critical")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_view(page, view, scheme):  # noqa: F811
    try:
        page.media(scheme)
        page.open(view)
        page.one(VIEWS[view])
        for node in page.all("details"):
            page.js("void (arguments[0].open = true)", node)
        judge(page, f"{view or 'overview'}, {scheme}")
    finally:
        page.usual()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plain_console_and_keys(page, scheme):  # noqa: F811
    try:
        page.media(scheme)
        page.plain("echo")
        judge(page, f"plain console, {scheme}")
        page.driver.find_element(By.ID, "keys").click()
        judge(page, f"keys, {scheme}")
        page.js("localStorage.clear()")
    finally:
        page.usual()
        page.driver.get_log("browser")  # drops them: the terminal may have been left while it loaded


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_login(page, m, scheme):  # noqa: F811
    """The box for the token, with an error in it."""
    assert m.token
    try:
        page.media(scheme)
        page.open()
        page.driver.execute_script("sessionStorage.clear()")
        page.driver.refresh()
        page.wait(lambda: page.js("document.getElementById('login').open"), "the box for the token")
        page.keys("\u2026\n")
        page.wait(lambda: page.text("#login-error"), "an error")
        judge(page, f"login, {scheme}")
    finally:
        page.usual()
        page.driver.get_log("browser")  # drops the refusals
