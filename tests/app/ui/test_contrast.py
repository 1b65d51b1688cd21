"""Words can be read: 4.5 : 1 against what lies behind them, in both themes and on every tab."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, expect

MEASURE = """() => {
  const rgb = (text) => {
    const m = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith("color(srgb") ? 255 : 1;
    return [m[0] * scale, m[1] * scale, m[2] * scale, m[3] ?? 1];
  };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = (colour) => {
    const part = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(colour[0]) + 0.7152 * part(colour[1]) + 0.0722 * part(colour[2]);
  };
  const told = { measured: 0, low: [] };
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim());
    const field = e.matches("textarea, input:is([type=text], [type=number], [type=password])");
    const words = field ? e.value || e.placeholder : own.join(" ").trim();
    if (!words || e.closest("svg, [disabled], [aria-disabled=true]")) continue;
    if (!e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const box = e.getBoundingClientRect(), layers = [];
    let alpha = 1, picture = !box.width || !box.height;
    for (let n = e; n && !picture; n = n.parentElement) {
      const style = getComputedStyle(n);
      picture = style.backgroundImage !== "none";
      layers.push(rgb(style.backgroundColor));
      alpha *= Number(style.opacity);
    }
    if (picture) continue;
    const back = layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
    const style = getComputedStyle(e, field && !e.value ? "::placeholder" : null);
    const ink = rgb(style.color);
    ink[3] *= alpha;
    const [more, less] = [light(over(ink, back)), light(back)].sort((a, b) => b - a);
    const ratio = (more + 0.05) / (less + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    told.measured += 1;
    if (ratio < (large ? 3 : 4.5)) told.low.push(`${ratio.toFixed(2)} ${words.slice(0, 60)}`);
  }
  return told;
}"""


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_words_can_be_read(browser: BrowserContext, served_link: str, theme: str) -> None:
    page = browser.new_page()
    page.set_default_timeout(20_000)
    page.goto(served_link.replace("/#", f"/?__theme={theme}#"))
    page.click("#sample-1")
    expect(page.locator("#status .status.ok, #status .status.hint")).to_be_visible()
    measured = 0
    for tab in page.get_by_role("tab").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        inner = page.locator("[id$=-parts]:visible").get_by_role("tab").all()
        for part in inner or [tab]:
            part.click()
            closed = page.locator("button.label-wrap:not(.open):visible")
            while closed.count():
                closed.first.click()
            for _ in range(10):
                page.wait_for_timeout(300)  # what opens fades in
                told = page.evaluate(MEASURE)
                if not told["low"]:
                    break
            assert told["low"] == [], part.inner_text()
            measured += told["measured"]
    assert measured > 150
    page.close()
