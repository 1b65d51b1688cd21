// The inspector: state, linking of its views, editing of phrases, downloads. Pointing and clicking
// happen here; Python is asked only when phrases change.
const root = element.querySelector(".inspector");
const fresh = () => ({ phrase: null, box: null, pinPhrase: null, pinBox: null, sort: null, up: false });
const state = { ...fresh(), level: "all", numbers: "similarity", evidence: 0, all: false };
let data = null, parts = null, focusNext = null;

const pointed = () => ({
  phrase: state.phrase ?? (state.box == null ? state.pinPhrase : null) ?? -1,
  box: state.box ?? (state.phrase == null && state.pinPhrase == null ? state.pinBox : null),
});
const keys = (act) => (event) => {
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); }
};
const handlers = () => ({
  ...pointed(),
  ranked: pointed().box == null ? null : phrasesOf(data, pointed().box),
  onPhrase: (index, hoverOnly = false) => ({
    onpointerenter: () => point({ phrase: index }), onpointerleave: () => point({}),
    onfocus: () => point({ phrase: index }), onblur: () => point({}),
    ...(hoverOnly ? {} : { onclick: () => pin("pinPhrase", index), onkeydown: keys(() => pin("pinPhrase", index)) }),
  }),
  onRegion: (index) => ({
    onpointerenter: () => point({ box: index }), onpointerleave: () => point({}),
    onclick: () => pin("pinBox", index), onkeydown: keys(() => pin("pinBox", index)),
  }),
  onCell: (region, index) => ({
    onpointerenter: () => point({ phrase: index, box: region }), onpointerleave: () => point({}),
    onclick: () => pin("pinBox", region),
  }),
  onWord: (run) => {
    const text = run.text.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
    if (!text) return {};
    const add = () => addPhrase(text, run.start);
    return { class: "word", role: "button", tabindex: 0, "aria-label": `Add “${text}” as a phrase`, onclick: add, onkeydown: keys(add) };
  },
  onSort: (index) => { state.up = state.sort === index ? !state.up : false; state.sort = index; drawMatrix(); },
});

function point({ phrase = null, box = null }) {
  if (state.phrase === phrase && state.box === box) return;
  state.phrase = phrase;
  state.box = box;
  light();
}
function pin(which, index) {
  const other = which === "pinPhrase" ? "pinBox" : "pinPhrase";
  state[which] = state[which] === index ? null : index;
  state[other] = null;
  if (which === "pinPhrase") drawEditor();
  light();
  if (which === "pinBox" && state.pinBox != null)
    parts.matrix.querySelector(`tr[data-region="${index}"]`)?.scrollIntoView({ block: "nearest" });
}

// Show what is pointed at. The photo and the chips stay, so that the pointer and the focus do too.
function light() {
  const { phrase, box } = pointed();
  const drawn = figure(data, state, widthNow(), handlers()), old = parts.figure.firstChild;
  if (old && old.getAttribute("viewBox") === drawn.getAttribute("viewBox")) {
    const focused = document.activeElement?.closest?.(".region")?.dataset.region;
    [...old.lastChild.children].forEach((chip, i) => {
      for (const name of ["opacity", "aria-pressed"]) {
        const value = drawn.lastChild.children[i].getAttribute(name);
        if (value != null) chip.setAttribute(name, value);
      }
    });
    [...old.children].slice(1, -1).forEach((layer) => layer.remove());
    [...drawn.children].slice(1, -1).forEach((layer) => old.insertBefore(layer, old.lastChild));
    if (focused != null) old.querySelector(`.region[data-region="${focused}"]`)?.focus({ preventScroll: true });
  } else parts.figure.replaceChildren(drawn);
  const choose = { onPhrase: (i) => ({ onclick: () => pin("pinPhrase", i) }), onRegion: (i) => ({ onclick: () => pin("pinBox", i) }) };
  parts.details.replaceChildren(...details(data, state, { ...handlers(), ...choose }));
  root.querySelectorAll(".matrix .lit").forEach((cell) => cell.classList.remove("lit"));
  if (phrase >= 0) root.querySelectorAll(`.matrix [data-phrase="${phrase}"]`).forEach((cell) => cell.classList.add("lit"));
  if (box != null) root.querySelectorAll(`.matrix tr[data-region="${box}"] > *`).forEach((cell) => cell.classList.add("lit"));
}

const widthNow = () => Math.max(260, Math.floor(parts.figure.clientWidth || 600));
function drawMatrix() { parts.matrix.replaceChildren(matrix(data, state, handlers())); light(); }

// Python counts characters, JavaScript UTF-16 units: they differ behind an emoji.
const inUnits = (span, caption) => span && span.map((at) => [...caption].slice(0, at).join("").length);
const inPoints = (span) => span ? span.map((at) => [...data.caption.slice(0, at)].length) : null;

// Editing. A phrase is {text, span}; spans are kept where the words stand in the caption.
function send(phrases, whole = data.whole) {
  root.classList.add("busy");
  trigger("phrases", {
    whole,
    phrases: phrases.filter((p) => !p.whole && p.text.trim()).map((p) => ({ text: p.text, span: inPoints(p.span) })),
  });
}
const changed = (index, ...instead) => data.phrases.flatMap((p, i) => (i === index ? instead : [p]));
function part(phrase, from, to) {
  const text = phrase.text.slice(from, to);
  const lead = text.length - text.trimStart().length;
  const begin = from + lead, end = begin + text.trim().length;
  return { text: text.trim(), span: phrase.span && [phrase.span[0] + begin, phrase.span[0] + end] };
}
function merged(first, second) {
  if (!first.span || !second.span) return { text: `${first.text} ${second.text}`, span: null };
  const span = [Math.min(first.span[0], second.span[0]), Math.max(first.span[1], second.span[1])];
  return { text: data.caption.slice(...span), span };
}
function addPhrase(text, from = 0) {
  if (!text.trim()) return;
  const at = data.caption.toLowerCase().indexOf(text.toLowerCase(), from);
  const phrase = at < 0 ? { text, span: null } : { text: data.caption.slice(at, at + text.length), span: [at, at + text.length] };
  focusNext = phrase.text; // the page is drawn anew: the keyboard goes on at what it has made
  send([...data.phrases, phrase]);
}

function drawEditor() {
  const index = state.pinPhrase, phrase = index == null ? null : data.phrases[index];
  const rows = [];
  if (phrase && phrase.whole) rows.push(make("p", {}, "The whole caption counts as a phrase, as in training."));
  else if (phrase) {
    const cuts = [...phrase.text.matchAll(/\s+/g)];
    const next = data.phrases.findIndex((p, i) => i > index && !p.whole);
    rows.push(make("p", { class: "edit" }, make("b", {}, phrase.text),
      make("button", { type: "button", class: "drop", onclick: () => send(changed(index)) }, "Drop"),
      next > 0 && make("button", { type: "button", class: "merge", onclick: () => send(changed(index, merged(phrase, data.phrases[next])).filter((p) => p !== data.phrases[next])) }, `Merge with “${data.phrases[next].text}”`),
      cuts.map((cut) => make("button", { type: "button", class: "split", onclick: () => send(changed(index, part(phrase, 0, cut.index), part(phrase, cut.index, phrase.text.length))) },
        `Split: ${phrase.text.slice(0, cut.index)} | ${phrase.text.slice(cut.index).trim()}`))));
  } else rows.push(make("p", { class: "note" }, "Click a phrase to drop, merge or split it; click a word between phrases to add it."));
  const field = make("input", { type: "text", placeholder: "Add a phrase, e.g. a red mug", "aria-label": "Add a phrase", maxlength: 200, class: "add-text" });
  const add = () => addPhrase(field.value.trim());
  field.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); event.stopPropagation(); add(); } });
  const box = make("input", { type: "checkbox", checked: data.whole, disabled: !data.caption, onchange: () => send(data.phrases, box.checked) });
  rows.push(make("p", { class: "edit" }, field, make("button", { type: "button", class: "add", onclick: add }, "Add"),
    make("label", {}, box, " whole caption as a phrase")));
  parts.editor.replaceChildren(...rows);
}

// Downloads.
function save(content, kind, name) {
  const link = make("a", { href: URL.createObjectURL(new Blob([content], { type: kind })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
function drawnAlone() {
  const svg = parts.figure.firstChild.cloneNode(true), style = getComputedStyle(root);
  svg.setAttribute("color", style.color);
  svg.insertBefore(make("rect", { width: "100%", height: "100%", fill: getComputedStyle(document.body).backgroundColor }), svg.firstChild);
  return new XMLSerializer().serializeToString(svg);
}
function savePng() {
  const svg = parts.figure.firstChild, picture = new Image();
  const [width, height] = ["width", "height"].map((n) => Number(svg.getAttribute(n)));
  picture.onload = () => {
    const canvas = make("canvas", { width: 2 * width, height: 2 * height });
    canvas.getContext("2d").drawImage(picture, 0, 0, 2 * width, 2 * height);
    canvas.toBlob((blob) => save(blob, "image/png", "alignment.png"));
  };
  picture.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(drawnAlone());
}
const screenNow = () => ({ evidence: state.evidence, level: state.level, numbers: state.numbers, all: state.all, pinPhrase: state.pinPhrase, pinBox: state.pinBox, sort: state.sort, up: state.up });
function saveJson() {
  const { photo, maps, ...found } = data;
  const screen = { evidence: state.evidence, level: state.level, numbers: state.numbers, sorted_by: state.sort, phrase: state.pinPhrase, region: state.pinBox };
  const phrases = data.phrases.map((p) => ({ ...p, span: inPoints(p.span), present: p.evidence >= state.evidence }));
  save(JSON.stringify({ ...found, phrases, screen }, null, 1), "application/json", "alignment.json");
}

function choice(label, current, entries, change) {
  const list = make("select", { onchange: () => change(list.value) }, entries.map(([value, text]) => make("option", { value, selected: value === current }, text)));
  return make("label", {}, label, " ", list);
}
function draw() {
  const shown = make("output", {}, state.evidence.toFixed(2));
  const range = [Math.floor(Math.min(-3, ...data.phrases.map((p) => p.evidence))), Math.ceil(Math.max(6, ...data.phrases.map((p) => p.evidence)))];
  const slider = make("input", { type: "range", min: range[0], max: range[1], step: 0.05, class: "evidence", "aria-label": "Least evidence",
    oninput: () => { state.evidence = Number(slider.value); shown.value = state.evidence.toFixed(2); parts.figure.replaceChildren(); light(); } });
  slider.value = state.evidence;
  const every = make("input", { type: "checkbox", checked: state.all, onchange: () => { state.all = every.checked; light(); } });
  parts = { figure: make("div", { class: "canvas" }), editor: make("div", { class: "editor" }), details: make("div", { class: "details", "aria-live": "polite" }), matrix: make("div", { class: "scroll", tabindex: 0 }) };
  root.replaceChildren(
    make("div", { class: "tools" },
      make("label", { title: `Measured on swapped captions: ${data.evidence}` }, "“Not in this photo” below evidence ", slider, " ", shown),
      choice("Map", state.level, [["all", "all levels"], ...data.maps.sizes.map((s, i) => [String(i + 3), `P${i + 3} (${s[0]} × ${s[1]})`]), ["off", "off"]], (v) => { state.level = v; light(); }),
      make("label", {}, every, " all regions"),
      make("span", { class: "downloads" }, "Download ",
        make("button", { type: "button", class: "get-json", onclick: saveJson }, "JSON"),
        make("button", { type: "button", class: "get-png", onclick: savePng }, "PNG"),
        make("button", { type: "button", class: "get-svg", onclick: () => save(drawnAlone(), "image/svg+xml", "alignment.svg") }, "SVG")),
        make("button", { type: "button", class: "get-link", title: "A link to this photo, these phrases and this view", onclick: () => trigger("link", screenNow()) }, "Copy link")),
    make("div", { class: "columns" },
      make("div", { class: "left" }, parts.figure, parts.editor),
      make("div", { class: "right" }, parts.details,
        make("div", { class: "tools" }, choice("Numbers", state.numbers, [["similarity", "similarity (Eq. 1)"], ["probability", "probability"], ["weight", "weight (Eq. 3, 4)"]], (v) => { state.numbers = v; drawMatrix(); }),
          make("span", { class: "note" }, `${data.boxes.length} regions × ${data.phrases.length} phrases; a header sorts`)),
        parts.matrix)));
  drawEditor();
  drawMatrix();
}

function take() {
  const value = props.value;
  root.classList.remove("busy");
  if (!value || !value.phrases) { data = null; root.replaceChildren(); return; }
  const another = !data || data.key !== value.key || data.evidence !== value.evidence;
  data = { ...value, phrases: value.phrases.map((p) => ({ ...p, span: inUnits(p.span, value.caption) })) };
  Object.assign(state, fresh());
  if (another) state.evidence = value.evidence;
  if (value.screen) Object.assign(state, value.screen);
  draw();
  const made = data.phrases.findLastIndex((p) => p.text === focusNext);
  if (made >= 0) parts.figure.querySelector(`.phrase[data-phrase="${made}"]`)?.focus({ preventScroll: true });
  focusNext = null;
}
new ResizeObserver(() => {
  const svg = parts?.figure.firstChild;
  if (data && svg && parts.figure.clientWidth && Number(svg.getAttribute("width")) !== widthNow())
    parts.figure.replaceChildren(figure(data, state, widthNow(), handlers()));
}).observe(root);
watch("value", take);
take();
