// The score matrix, and the lists that rank regions for a phrase and phrases for a region.
function shownNumber(data, state, region, phrase) {
  const score = data.scores[region][phrase];
  if (state.numbers === "probability") return probability(data, score);
  if (state.numbers === "weight") return data.weights[region][phrase];
  return score;
}

function rowsInOrder(data, state) {
  const rows = data.scores.map((_, region) => region);
  if (state.sort == null) return rows;
  const sign = state.up ? 1 : -1;
  return rows.sort((a, b) => sign * (data.scores[a][state.sort] - data.scores[b][state.sort]) || a - b);
}

function matrix(data, state, handlers) {
  const low = Math.min(...data.scores.flat()), high = Math.max(...data.scores.flat());
  const head = make("tr", {},
    make("th", { scope: "col" }, make("button", { type: "button", class: "sort", title: "in the order of selection", onclick: () => handlers.onSort(null) }, "region")),
    data.phrases.map((phrase, index) => make("th", { scope: "col", "data-phrase": index, "aria-sort": state.sort === index ? (state.up ? "ascending" : "descending") : "none" },
      make("button", { type: "button", class: "sort", title: `${phrase.text}: sort by it`, style: `border-top: 4px solid ${phrase.colour}`, onclick: () => handlers.onSort(index), ...handlers.onPhrase(index, true) },
        (phrase.whole ? "whole caption" : phrase.text) + (state.sort === index ? (state.up ? " ▲" : " ▼") : "")))));
  const body = rowsInOrder(data, state).map((region) => make("tr", { "data-region": region },
    make("th", { scope: "row" }, make("button", { type: "button", class: "row", ...handlers.onRegion(region) }, `${region + 1}`, make("small", {}, ` P${data.levels[region]}`))),
    data.phrases.map((phrase, index) => {
      const value = shownNumber(data, state, region, index);
      const heat = (data.scores[region][index] - low) / Math.max(1e-9, high - low);
      return make("td", {
        "data-phrase": index, "data-region": region, "data-value": data.scores[region][index],
        class: phrase.region === region ? "best" : "", title: `${phrase.text} × region ${region + 1}: similarity ${data.scores[region][index]}`,
        style: `--heat: ${Math.round(100 * heat * heat)}%`, ...handlers.onCell(region, index),
      }, value.toFixed(state.numbers === "similarity" ? 2 : 3));
    })));
  return make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, body));
}

const bar = (share, colour) => make("span", { class: "bar", style: `--share: ${(100 * Math.max(0, Math.min(1, share))).toFixed(1)}%; --colour: ${colour}` });

function overview(data, state, handlers) {
  const top = Math.max(...data.phrases.map((p) => p.evidence), state.evidence + 1);
  const low = Math.min(...data.phrases.map((p) => p.evidence), 0);
  return [
    make("p", { class: "lead" }, "s", make("sub", {}, "T"), ` = ${data.similarity.toFixed(3)}, the mean match of ${data.phrases.length} ${data.phrases.length === 1 ? "phrase" : "phrases"}; what training compares between photos.`),
    make("ul", { class: "ranking" }, data.phrases.map((phrase, index) => {
      const here = phrase.evidence >= state.evidence;
      return make("li", { "data-phrase": index, class: here ? "" : "absent", ...handlers.onPhrase(index, true) },
        make("span", { class: "name" }, phrase.whole ? "the whole caption" : phrase.text),
        bar((phrase.evidence - low) / (top - low), phrase.colour),
        make("span", { class: "number" }, `${phrase.evidence >= 0 ? "+" : "−"}${Math.abs(phrase.evidence).toFixed(2)}`),
        make("span", { class: "verdict" }, here ? `region ${phrase.region + 1}` : "not in this photo"));
    })),
    make("p", { class: "note" }, "The number is the evidence: how much better a phrase fits this photo than phrases about other things do. Point at a phrase or a box; click to keep it."),
  ];
}

function phrasesOf(data, region) {
  return data.phrases.map((_, index) => index).sort((a, b) => data.scores[region][b] - data.scores[region][a]);
}

function details(data, state, handlers) {
  const { phrase, box } = handlers;
  if (box != null) {
    const [x1, y1, x2, y2] = data.boxes[box].map(Math.round);
    return [
      make("p", { class: "lead" }, make("b", {}, `Region ${box + 1}`), ` of level P${data.levels[box]}, ${x2 - x1} × ${y2 - y1} px at (${x1}, ${y1}). Its phrases:`),
      make("ol", { class: "ranking" }, phrasesOf(data, box).map((index) => make("li", { "data-phrase": index, ...handlers.onPhrase(index, true) },
        make("span", { class: "name" }, data.phrases[index].whole ? "the whole caption" : data.phrases[index].text),
        bar(probability(data, data.scores[box][index]), data.phrases[index].colour),
        make("span", { class: "number" }, data.scores[box][index].toFixed(2)),
        make("span", { class: "verdict" }, data.phrases[index].region === box ? "its best" : "")))),
    ];
  }
  if (phrase >= 0) {
    const entry = data.phrases[phrase];
    const regions = data.scores.map((row, region) => [region, row[phrase]]).sort((a, b) => b[1] - a[1]).slice(0, 6);
    return [
      make("p", { class: "lead" }, make("b", {}, entry.text), entry.evidence >= state.evidence ? ": its regions" : ": not in this photo. Nearest regions"),
      make("ol", { class: "ranking" }, regions.map(([region, score]) => make("li", { "data-region": region, ...handlers.onRegion(region) },
        make("span", { class: "name" }, `region ${region + 1}, P${data.levels[region]}`),
        bar(probability(data, score), entry.colour),
        make("span", { class: "number" }, score.toFixed(2)),
        make("span", { class: "verdict" }, data.settings.matching === "softmax" ? `weight ${data.weights[region][phrase].toFixed(2)}` : "")))),
      make("p", { class: "note" }, `Match ${entry.match.toFixed(3)}, evidence ${entry.evidence.toFixed(3)}. The map shows similarities from ${data.maps.low[phrase].toFixed(2)} (clear) to ${data.maps.high[phrase].toFixed(2)} (yellow).`),
    ];
  }
  return overview(data, state, handlers);
}
