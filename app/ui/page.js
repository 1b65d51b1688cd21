// The session token: behind # in the address that the terminal printed, kept for this origin, sent
// with this page's own requests. No other page can read it or make a browser send it.
(() => {
  const carried = new URLSearchParams(location.hash.slice(1)).get("token");
  if (carried) {
    localStorage.setItem("detclipv2-token", carried);
    history.replaceState(null, "", location.pathname + location.search);
  }
  const token = localStorage.getItem("detclipv2-token");
  if (!token) return;
  const plain = window.fetch;
  window.fetch = (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input, location.href);
    if (url.origin !== location.origin) return plain(input, init);
    const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : {}));
    headers.set("x-detclipv2-token", token);
    return plain(input, { ...init, headers });
  };
})();

// Keys and drops gradio has no setting for: Ctrl+Enter runs the tab whose words are typed, and a
// photo can be pasted or dropped anywhere on the page, also while another one is shown.
(() => {
  const find = (selector) => document.querySelector(selector);

  const runs = { "#prompts": "#detect", "#align-caption": "#align", "[id^=compare-words]": "#compare" };
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const words = Object.keys(runs).find((selector) => event.target.closest(selector));
    if (words) {
      event.preventDefault();
      event.stopPropagation();
      find(runs[words]).click();
    }
  }, true);
  const panel = () => [...document.querySelectorAll(".photo-panel")].find((p) => p.offsetParent);

  const put = (file, tries = 40) => {
    const input = panel()?.querySelector("input[type=file]");
    if (input) {
      const carrier = new DataTransfer();
      carrier.items.add(file);
      input.files = carrier.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    } else if (tries > 0) {
      if (tries === 40) panel()?.querySelector("button[aria-label='Clear'], button[title='Clear']")?.click();
      setTimeout(() => put(file, tries - 1), 50);
    }
  };
  const imageOf = (transfer) =>
    [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

  document.addEventListener("paste", (event) => {
    const file = imageOf(event.clipboardData);
    if (file && panel()) { event.preventDefault(); event.stopPropagation(); put(file); }
  }, true);
  document.addEventListener("dragover", (event) => {
    if ([...(event.dataTransfer?.types ?? [])].includes("Files")) event.preventDefault();
  }, true);
  document.addEventListener("drop", (event) => {
    const file = imageOf(event.dataTransfer);
    if (file && panel()) { event.preventDefault(); event.stopPropagation(); put(file); }
  }, true);
})();

// Results of other words than those that stand there now are marked until they are made anew.
(() => {
  const tabs = [
    { asked: "#prompts", run: "#detect", status: "#status", shown: "#boxes, #classes, #photo img" },
    { asked: "#align-caption", run: "#align", status: "#align-status", shown: "#inspector" },
    {
      asked: "[id^=compare-words], [id^=compare-template], [id^=compare-model], #compare-threshold",
      run: "#compare", status: "#compare-status", shown: "#compare-results",
    },
  ];
  const mark = (tab, stale) => {
    document.querySelector(tab.status)?.classList.toggle("stale-status", stale);
    document.querySelectorAll(tab.shown).forEach((part) => part.classList.toggle("stale", stale));
  };
  const found = (tab) => document.querySelector(`${tab.status} .status:is(.ok, .hint)`);
  const waiting = new Map();
  const fresh = (tab) => {
    waiting.get(tab)?.disconnect();
    waiting.delete(tab);
    mark(tab, false);
  };
  document.addEventListener("input", (event) => {
    const tab = tabs.find((one) => event.target.closest(one.asked));
    if (!tab || waiting.has(tab) || !found(tab)) return;
    mark(tab, true);
    const seen = new MutationObserver(() => fresh(tab));
    seen.observe(document.querySelector(tab.status), { childList: true, subtree: true, characterData: true });
    waiting.set(tab, seen);
  }, true);
  document.addEventListener("click", (event) => {
    const tab = tabs.find((one) => event.target.closest(one.run));
    if (tab) fresh(tab);
  }, true);
})();
