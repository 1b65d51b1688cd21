// Keys and drops gradio has no setting for: Ctrl+Enter detects, and a photo can be pasted or
// dropped anywhere on the page, also while another one is shown.
(() => {
  const find = (selector) => document.querySelector(selector);

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest("#prompts")) {
      event.preventDefault();
      event.stopPropagation();
      find("#detect").click();
    }
  }, true);

  const put = (file, tries = 40) => {
    const input = find("#photo input[type=file]");
    if (input) {
      const carrier = new DataTransfer();
      carrier.items.add(file);
      input.files = carrier.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    } else if (tries > 0) {
      if (tries === 40) find("#photo button[aria-label='Clear'], #photo button[title='Clear']")?.click();
      setTimeout(() => put(file, tries - 1), 50);
    }
  };
  const imageOf = (transfer) =>
    [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

  document.addEventListener("paste", (event) => {
    const file = imageOf(event.clipboardData);
    if (file) { event.preventDefault(); event.stopPropagation(); put(file); }
  }, true);
  document.addEventListener("dragover", (event) => {
    if ([...(event.dataTransfer?.types ?? [])].includes("Files")) event.preventDefault();
  }, true);
  document.addEventListener("drop", (event) => {
    const file = imageOf(event.dataTransfer);
    if (file) { event.preventDefault(); event.stopPropagation(); put(file); }
  }, true);
})();
