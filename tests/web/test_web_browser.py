"""The dashboard in a real browser: every width, both schemes, keyboard, orders, without script."""

from __future__ import annotations

import shutil

import pytest

import web_rig
from farm.ports import free_port
from farm.waiting import until
from web_rig import ask, rows

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
DRIVER = shutil.which("chromedriver") or ""
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")

PATIENCE = 15
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --force-device-scale-factor=1"
)
SIZES = [(360, 780), (768, 1024), (1280, 900), (3840, 2160)]
# Every text that can be seen, against the nearest ground that is not transparent.
CONTRAST = """
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const light = ([r, g, b]) => {
  const part = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = parse(getComputedStyle(at).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const poor = [];
let seen = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
  if (element.closest(".unseen, script, title") || !element.getClientRects().length) continue;
  seen += 1;
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push([text.slice(0, 40), ratio.toFixed(2)]);
}
return seen > 50 ? poor : `only ${seen} texts`;
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory, alive):
    """The ports of a pasvport that only this browser looks at."""
    with web_rig.pasvport(tmp_path_factory.mktemp("browser"), alive) as (_, places):
        web_rig.until_state(places.open, "/stats", ("servers", "bad"), "DOWN")
        yield places


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


def emulate(browser, width=1280, height=900, scheme="light", motion="no-preference", scripts=True):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": motion},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})


def look(browser, places, path="/stats", **emulated):
    """Open the page and wait until it is alive."""
    emulate(browser, **emulated)
    browser.get(f"http://127.0.0.1:{places.open}{path}")
    until(lambda: text(browser, "#live") == "Live", "the page to be live", PATIENCE)


def text(browser, selector):
    return browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)


def press(browser, *keys):
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def find(browser, selector):
    return browser.find_element("css selector", selector)


def complaints(browser):
    """What the console says, a missing favicon of the browser's own apart."""
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_width_in_both_schemes(browser, watched, width, height, scheme) -> None:
    look(browser, watched, width=width, height=height, scheme=scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(CONTRAST) == []
    grounds = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    red = int(grounds.partition("(")[2].partition(",")[0])
    assert (red > 200) is (scheme == "light")
    assert not complaints(browser)


def test_options_of_the_address_hold_while_it_refreshes(browser, watched) -> None:
    look(browser, watched, "/stats;scope=serv;up")
    browser.execute_script("window.same = true")
    shown = "return [...document.querySelectorAll('#servers tbody tr')].map((each) => each.key)"
    until(lambda: browser.execute_script(shown) == ["good", "idle"], "the servers that are up", PATIENCE)
    assert len(browser.find_elements("css selector", "#servers table")) == 1
    assert browser.execute_script("return document.querySelectorAll('#frontends tbody tr').length") == 0
    assert browser.execute_script("return window.same")


def test_orders_are_in_sight_on_a_small_screen(browser, watched) -> None:
    look(browser, watched, width=1280)
    box = find(browser, "#servers .act button:last-child").rect
    assert box["x"] + box["width"] <= 1280


def test_everything_comes_from_here(browser, watched) -> None:
    look(browser, watched)
    names = browser.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert names
    assert all(name.startswith(f"http://127.0.0.1:{watched.open}/") for name in names)
    assert not complaints(browser)


def test_what_it_shows(browser, watched) -> None:
    look(browser, watched)
    assert "2 / 2" in text(browser, "#tiles")
    assert "No server" not in text(browser, "#summary")
    assert "DOWN" in text(browser, '#servers tr[data-state="DOWN"]')
    assert text(browser, "#transfers .none").strip() == "No transfer is running."
    until(lambda: browser.execute_script("return document.querySelectorAll('#charts figure').length") == 3, "charts")
    until(lambda: "now" in (find(browser, ".plot").get_attribute("aria-label") or ""), "a chart in words", PATIENCE)


def test_the_filter(browser, watched) -> None:
    look(browser, watched)
    press(browser, "/")
    assert browser.switch_to.active_element.get_attribute("id") == "filter"
    press(browser, "bad")

    def shown():
        return browser.execute_script(
            "return [...document.querySelectorAll('#servers tbody tr')]"
            ".filter((each) => !each.hidden).map((each) => each.key)"
        )

    until(lambda: shown() == ["bad"], "only one server to be shown", PATIENCE)
    for _ in range(3):
        press(browser, "\ue003")
    until(lambda: len(shown()) == 5, "all servers to be shown again", PATIENCE)


def test_a_server_is_drained_and_made_ready(browser, watched) -> None:
    look(browser, watched)

    def button(title):
        return find(browser, f'button[aria-label="{title}: servers/idle"]')

    def status():
        return rows(ask(watched.open, "/stats;csv").text)[1]["servers", "idle"]["status"]

    button("Drain").click()
    assert find(browser, "#ask").get_attribute("open")
    press(browser, "\ue00c")
    assert status() == "no check", "Escape must do nothing"
    button("Drain").click()
    find(browser, "#ask-yes").click()
    until(lambda: status().startswith("DRAIN"), "the server to be drained", PATIENCE)
    until(lambda: "DRAIN" in text(browser, '#servers tr[data-state="DRAIN"]'), "the page to say so", PATIENCE)
    until(lambda: "done" in text(browser, "#said"), "the page to confirm", PATIENCE)
    assert button("Drain").get_attribute("aria-pressed") == "true"
    button("Ready").click()
    until(lambda: status() == "no check", "the server to be ready", PATIENCE)


def test_a_page_that_may_give_no_orders_has_no_buttons(browser, watched) -> None:
    emulate(browser)
    browser.get(f"http://guest:guest@127.0.0.1:{watched.locked}/")
    # A page opened with a password in its address may not fetch by relative addresses: open it again without.
    browser.get(f"http://127.0.0.1:{watched.locked}/")
    until(lambda: text(browser, "#live") == "Live", "the page to be live", PATIENCE)
    assert browser.find_elements("css selector", ".act button") == []
    assert text(browser, ".node") == "west"


def test_the_keyboard_reaches_everything(browser, watched) -> None:
    look(browser, watched)
    press(browser, "\ue004")
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    press(browser, "\ue007")
    assert browser.execute_script("return location.hash") == "#servers"
    look(browser, watched)
    reached = set()
    for _ in range(60):
        press(browser, "\ue004")
        active = browser.switch_to.active_element
        reached.add(active.get_attribute("id") or active.get_attribute("aria-label") or active.text)
    assert {"filter", "pause", "Drain: servers/good", "Maint: servers/out", "CSV"} <= reached


def test_a_chart_is_read_by_arrow_keys(browser, watched) -> None:
    look(browser, watched)
    until(lambda: browser.execute_script("return document.querySelectorAll('.plot').length") == 3, "charts", PATIENCE)
    browser.execute_script("document.querySelector('.plot').focus()")
    press(browser, "\ue012")
    until(lambda: "ago" in text(browser, "#charts p.unseen"), "the value to be said", PATIENCE)


def test_focus_and_nodes_stay_while_the_page_refreshes(browser, watched) -> None:
    look(browser, watched)
    until(lambda: find(browser, 'button[aria-label="Drain: servers/good"]'), "the button", PATIENCE)
    browser.execute_script(
        "window.polls = 0; const old = fetch; window.fetch = (...a) => { window.polls += 1; return old(...a); };"
        "window.button = document.querySelector('button[aria-label=\"Drain: servers/good\"]'); window.button.focus();"
    )
    until(lambda: browser.execute_script("return window.polls") >= 2, "two more polls", PATIENCE)
    assert browser.execute_script("return document.activeElement === window.button && window.button.isConnected")


def test_less_motion_where_that_is_wished(browser, watched) -> None:
    moving = "return getComputedStyle(document.querySelector('.badge')).transitionDuration"
    look(browser, watched)
    assert browser.execute_script(moving) != "0s"
    look(browser, watched, motion="reduce")
    assert browser.execute_script(moving) == "0s"


def test_pausing(browser, watched) -> None:
    look(browser, watched)
    find(browser, "#pause").click()
    assert text(browser, "#live") == "Paused"
    assert find(browser, "#pause").get_attribute("aria-pressed") == "true"
    find(browser, "#pause").click()
    until(lambda: text(browser, "#live") == "Live", "the page to go on", PATIENCE)


def test_without_script(browser, watched) -> None:
    emulate(browser, scripts=False)
    browser.get(f"http://127.0.0.1:{watched.open}/stats;norefresh")
    emulate(browser, scripts=True)
    shown = find(browser, "#servers").text
    assert "Layer4 connection problem" in shown
    assert find(browser, "#frontends table").is_displayed()
    assert not find(browser, "#transfers").is_displayed()
    find(browser, 'input[name="s"][value="idle"]').click()
    browser.execute_script("document.querySelector('form select').value = 'maint'")
    find(browser, "form button[type=submit]").click()
    until(lambda: ";st=DONE" in browser.current_url, "the answer to the form", PATIENCE)
    assert rows(ask(watched.open, "/stats;csv").text)[1]["servers", "idle"]["status"] == "MAINT"
    ask(watched.open, "/stats", "POST", body="s=idle&action=ready&b=servers")


@pytest.mark.parametrize("path", ["/farm", "/farm;up", "/dashboard"])
def test_a_page_opened_with_a_password_in_its_address_lives(browser, tmp_path, alive, path) -> None:
    port = free_port()
    page = (
        f"frontend guarded\n    mode http\n    bind 127.0.0.1:{port}\n    stats uri /farm\n"
        "    stats auth ops:se;up\n    stats admin if TRUE\n"
    )
    with web_rig.pasvport(tmp_path, alive, more=page):
        web_rig.until_state(port, "/farm", ("servers", "bad"), "DOWN", user="ops:se;up")
        emulate(browser)
        # The page of a test before may have complained when its balancer went.
        browser.get("about:blank")
        complaints(browser)
        browser.get(f"http://ops:se%3Bup@127.0.0.1:{port}{path}")
        until(lambda: text(browser, "#live") == "Live", "the page to be live", PATIENCE)
        find(browser, "button[aria-label='Drain: servers/idle']").click()
        find(browser, "#ask button[value=yes]").click()
        until(lambda: "drain done" in text(browser, "#said"), "the order to be obeyed", PATIENCE)
        until(lambda: "DRAIN" in text(browser, "table[data-backend=servers]"), "the page to show it", PATIENCE)
        assert ("bad" in text(browser, "table[data-backend=servers]")) is (";up" not in path)
        assert not complaints(browser)
