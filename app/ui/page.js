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
