// The picture: the caption with its phrases, the photo, and a line from each phrase to its regions.
// One SVG with everything written into it, so that what is seen is what is downloaded.
// Words of users only ever become text nodes and attribute values.
const SVG = "http://www.w3.org/2000/svg";
const FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif";
const LINE = 36, CHIP = 26, SIZE = 15;

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "path", "circle", "text", "image", "title"].includes(tag);
  const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

const ruler = document.createElement("canvas").getContext("2d");
function widthOf(text, weight = 400) {
  ruler.font = `${weight} ${SIZE}px ${FONT}`;
  return ruler.measureText(text).width;
}
function shorten(text, room) {
  if (widthOf(text, 600) <= room) return text;
  let end = text.length;
  while (end > 1 && widthOf(text.slice(0, end) + "…", 600) > room) end -= 1;
  return text.slice(0, end) + "…";
}

// The caption as runs: phrases that do not overlap stand in it, the others follow below.
function runsOf(data) {
  const inside = [], below = [];
  let last = -1;
  data.phrases
    .map((phrase, index) => ({ phrase, index }))
    .sort((a, b) => (a.phrase.span?.[0] ?? 1e9) - (b.phrase.span?.[0] ?? 1e9))
    .forEach((entry) => {
      const span = entry.phrase.span;
      if (span && !entry.phrase.whole && span[0] >= last) { inside.push(entry); last = span[1]; }
      else below.push(entry);
    });
  const runs = [];
  let at = 0;
  const words = (from, to) => {
    for (const match of data.caption.slice(from, to).matchAll(/\S+/g))
      runs.push({ text: match[0], start: from + match.index, end: from + match.index + match[0].length });
  };
  for (const entry of inside) {
    words(at, entry.phrase.span[0]);
    runs.push({ text: entry.phrase.text, index: entry.index });
    at = entry.phrase.span[1];
  }
  words(at, data.caption.length);
  if (below.length) runs.push({ newline: true });
  for (const entry of below)
    runs.push({ text: entry.phrase.whole ? "the whole caption" : entry.phrase.text, index: entry.index });
  return runs;
}

// Places every run; gives their boxes and the height they take.
function typeset(runs, width, absent) {
  let x = 0, y = 0;
  const placed = [];
  for (const run of runs) {
    if (run.newline) { if (x) { x = 0; y += LINE; } continue; }
    const chip = run.index != null;
    const text = shorten(run.text + (chip && absent(run.index) ? " · not here" : ""), width - 24);
    const w = widthOf(text, chip ? 600 : 400) + (chip ? 20 : 0);
    if (x && x + w > width) { x = 0; y += LINE; }
    placed.push({ ...run, chip, text, x, y, w });
    x += w + 6;
  }
  return { placed, height: y + LINE };
}

function heatImage(data, phrase, level) {
  const { sizes, share, bytes } = data.maps;
  const width = 360, height = Math.max(1, Math.round((width * data.size[1]) / data.size[0]));
  const target = make("canvas", { width, height });
  const pen = target.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.globalCompositeOperation = "lighten";
  sizes.forEach(([w, h], index) => {
    if (level !== "all" && Number(level) !== index + 3) return;
    const raw = atob(bytes[phrase][index]);
    const grid = make("canvas", { width: w, height: h });
    const pixels = new ImageData(w, h);
    for (let i = 0; i < w * h; i += 1) pixels.data.set([raw.charCodeAt(i), 0, 0, 255], 4 * i);
    grid.getContext("2d").putImageData(pixels, 0, 0);
    pen.drawImage(grid, 0, 0, w * share[0], h * share[1], 0, 0, width, height);
  });
  const pixels = pen.getImageData(0, 0, width, height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const v = pixels.data[i] / 255; // dark blue to yellow, the weak half nearly clear
    pixels.data.set([Math.min(255, 510 * v), 255 * v * v, 160 * (1 - v), 215 * v ** 2], i);
  }
  pen.putImageData(pixels, 0, 0);
  return target.toDataURL();
}

const curve = (x1, y1, x2, y2) => {
  const bend = Math.max(24, Math.abs(y2 - y1) / 2);
  return `M${x1} ${y1} C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
};

// Regions that a phrase lights up, best first: [region, strength from 0 to 1].
function regionsOf(data, phrase) {
  const column = data.scores.map((row, region) => [region, row[phrase]]);
  column.sort((a, b) => b[1] - a[1]);
  if (data.settings.matching === "softmax") {
    const top = Math.max(...data.weights.map((row) => row[phrase]));
    return column.slice(0, 8).map(([r]) => [r, data.weights[r][phrase] / top]).filter((e) => e[1] > 0.05);
  }
  const best = probability(data, column[0][1]);
  return column.slice(0, 5).map(([r, s]) => [r, probability(data, s) / best]).filter((e) => e[1] > 0.5);
}
const probability = (data, score) => 1 / (1 + Math.exp(-(score + data.bias)));

function figure(data, state, width, handlers) {
  const absent = (p) => data.phrases[p].evidence < state.evidence;
  const { placed, height: band } = typeset(runsOf(data), width, absent);
  const scale = Math.min(width / data.size[0], 540 / data.size[1]);
  const photo = { w: data.size[0] * scale, h: data.size[1] * scale, y: band + 14 };
  photo.x = (width - photo.w) / 2;
  const svg = make("svg", {
    xmlns: SVG, width, height: photo.y + photo.h, viewBox: `0 0 ${width} ${photo.y + photo.h}`,
    class: "figure", role: "group", "aria-label": "The caption's phrases and their regions in the photo",
    "font-family": FONT, "font-size": SIZE,
  });
  svg.append(make("image", { href: data.photo, x: photo.x, y: photo.y, width: photo.w, height: photo.h, preserveAspectRatio: "none" }));
  const corners = (r) => {
    const [x1, y1, x2, y2] = data.boxes[r].map((v) => v * scale);
    return { x: photo.x + x1, y: photo.y + y1, width: Math.max(1, x2 - x1), height: Math.max(1, y2 - y1) };
  };

  const point = handlers.phrase ?? -1;
  if (point >= 0 && state.level !== "off")
    svg.append(make("image", { class: "heat", href: heatImage(data, point, state.level), x: photo.x, y: photo.y, width: photo.w, height: photo.h, preserveAspectRatio: "none" }));

  const layers = { boxes: make("g"), lines: make("g", { fill: "none" }), chips: make("g") };
  const owners = new Map(); // region → [phrase, strength], the strongest owner last
  data.phrases.forEach((_, p) => {
    const pointed = p === point;
    if (absent(p) && !pointed) return;
    if (point >= 0 && !pointed) return;
    if (data.phrases[p].whole && !pointed && data.phrases.length > 1) return;
    const regions = regionsOf(data, p);
    for (const [region, strength] of pointed || data.settings.matching === "softmax" ? regions : regions.slice(0, 1))
      owners.set(region, [...(owners.get(region) ?? []), [p, strength]]);
  });
  const shown = new Set(owners.keys());
  if (state.all) data.boxes.forEach((_, r) => shown.add(r));
  if (handlers.box != null) shown.add(handlers.box);
  const area = (r) => (data.boxes[r][2] - data.boxes[r][0]) * (data.boxes[r][3] - data.boxes[r][1]);
  [...shown].sort((a, b) => area(b) - area(a)).forEach((region) => {
    const mine = owners.get(region);
    const [p, strength] = mine ? mine[mine.length - 1] : [null, 0];
    const lit = handlers.box === region;
    const rect = make("rect", {
      ...corners(region), rx: 2, fill: "#ffffff", "fill-opacity": lit ? 0.16 : 0, "pointer-events": "all",
      stroke: p == null ? "#ffffff" : data.phrases[p].colour, "stroke-width": lit ? 4 : p == null ? 1 : 2.5,
      "stroke-opacity": p == null ? (lit ? 1 : 0.45) : 0.35 + 0.65 * strength,
      "stroke-dasharray": p != null && absent(p) ? "6 4" : null,
      class: "region", "data-region": region, tabindex: mine ? 0 : -1, role: "button", cursor: "pointer",
      "aria-label": `Region ${region + 1}`,
      ...handlers.onRegion(region),
    }, make("title", {}, `Region ${region + 1}, P${data.levels[region]}`));
    const rim = make("rect", { ...corners(region), rx: 2, fill: "none", stroke: "#000", "stroke-opacity": p == null ? 0.2 : 0.45, "stroke-width": lit ? 6 : p == null ? 2 : 4.5, "pointer-events": "none" });
    layers.boxes.append(rim, rect);
  });

  for (const run of placed) {
    if (!run.chip) {
      layers.chips.append(make("text", { x: run.x, y: run.y + 18, fill: "currentColor", ...handlers.onWord(run) }, run.text));
      continue;
    }
    const { index } = run, phrase = data.phrases[index], gone = absent(index);
    const faded = (point >= 0 && point !== index) || (handlers.box != null && handlers.ranked?.[0] !== index);
    const chip = make("g", {
      class: "phrase", "data-phrase": index, role: "button", tabindex: 0, cursor: "pointer", opacity: faded ? 0.45 : 1,
      "aria-pressed": state.pinPhrase === index ? "true" : "false", "aria-label": phrase.text + (gone ? ", not in this photo" : ""),
      ...handlers.onPhrase(index),
    },
    make("title", {}, `${phrase.text}\nmatch ${phrase.match.toFixed(3)}, evidence ${phrase.evidence.toFixed(3)}`),
    make("rect", { x: run.x, y: run.y, width: run.w, height: CHIP, rx: 6, fill: gone ? "none" : phrase.colour, stroke: phrase.colour, "stroke-width": 2, "stroke-dasharray": gone ? "5 4" : null, "pointer-events": "all" }),
    make("text", { x: run.x + 10, y: run.y + 18, "font-weight": 600, fill: gone ? "currentColor" : phrase.ink }, run.text));
    layers.chips.append(chip);
    if (gone && index !== point) continue;
    const mine = [...owners].flatMap(([r, list]) => list.filter(([p]) => p === index).map(([, s]) => [r, s]));
    mine.forEach(([region, strength]) => {
      const box = corners(region), x = box.x + box.width / 2, y = box.y;
      const path = curve(run.x + run.w / 2, run.y + CHIP, x, y);
      layers.lines.append(
        make("path", { d: path, stroke: "#000", "stroke-opacity": 0.35 * strength, "stroke-width": 4 * strength + 1 }),
        make("path", { d: path, stroke: phrase.colour, "stroke-width": 2.5 * strength + 0.5, "stroke-opacity": 0.3 + 0.7 * strength, class: "tie", "data-phrase": index, "data-region": region }),
        make("circle", { cx: x, cy: y, r: 4, fill: phrase.colour, stroke: "#000", "stroke-opacity": 0.5 }),
      );
    });
  }
  layers.lines.setAttribute("pointer-events", "none");
  svg.append(layers.boxes, layers.lines, layers.chips);
  return svg;
}
