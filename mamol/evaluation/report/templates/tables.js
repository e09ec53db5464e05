"use strict";
// Tables: scores, classes, confusion, legend; each can be saved.
page.csvButton = (table) => {
  const button = page.make("button", { type: "button", class: "save" }, "Save table");
  button.setAttribute("aria-label", `Save the table ${table.dataset.name} as CSV`);
  button.addEventListener("click", () => page.save(new Blob([page.csv(table)], { type: "text/csv" }), `${table.dataset.name.replace(/[^0-9A-Za-z]+/g, "_")}.csv`));
  return button;
};

page.csv = (table) => {
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [...table.rows].map((row) => [...row.cells].map((cell) => quoted(cell.textContent.trim())).join(",")).join("\r\n") + "\r\n";
};

// Puts a table into a box: rows begin with their head; the one of the pattern that is marked stands out.
page.table = (box, name, head, rows, caption = "", { style = "", marked = "" } = {}) => {
  const make = page.make;
  const table = make("table", { "data-name": name, ...(style ? { class: style } : {}) },
    ...(caption ? [make("caption", {}, caption)] : []),
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map(([first, ...cells]) => make("tr", first === marked ? { class: "now" } : {},
      make("th", { scope: "row" }, first), ...cells.map((cell) => (cell instanceof Node ? cell : make("td", {}, cell)))))));
  page.element(box).replaceChildren(table, page.csvButton(table));
  return table;
};

page.drawTables = () => {
  const { content } = page, now = page.pattern(), here = content.patterns[now], make = page.make;
  if (here) {
    page.table("now", `scores_${now}`, ["score", "value", "95 % interval"], [
      ...content.scores.map((name) => [name, page.percent(here.scores[name].value, 2), ends(here.scores[name])]),
      ...content.classes.map((name, k) => [name, page.percent(here.classes[k].value, 1), ends(here.classes[k])]),
    ], `${here.n} test samples with ${now}; of classes the ${content.per_class}, in percent`);
  } else page.element("now").replaceChildren(make("p", {}, `No test sample can be under ${now}.`));
  confusion(here);
  const names = Object.keys(content.patterns);
  page.table("table-patterns", "scores_by_pattern", ["sensors", "samples", ...content.scores],
    names.map((name) => [name, String(content.patterns[name].n), ...content.scores.map((score) => page.told(content.patterns[name].scores[score]))]),
    "Percent (kappa × 100), with 95 % intervals", { marked: now });
  page.table("table-classes", "classes_by_pattern", ["sensors", ...content.classes],
    names.map((name) => [name, ...content.patterns[name].classes.map(page.told)]), `${content.per_class}, percent`, { marked: now });
  rates();
  others();
  worth();
  routing();
  trust();

  function ends(score) { return score.interval ? score.interval.map((end) => end.toFixed(1)).join(" – ") : "–"; }

  function confusion(found) {
    if (!found || !found.confusion) {
      page.element("confusion").replaceChildren(make("p", { class: "note" }, "These labels have no confusion matrix."));
      return;
    }
    const rows = found.confusion.map((row, k) => {
      const total = row.reduce((sum, each) => sum + each, 0) || 1;
      return [content.classes[k], ...row.map((count, other) => {
        const cell = make("td", {}, String(count));
        cell.style.background = count ? `color-mix(in srgb, ${k === other ? "var(--accent)" : "#e69f00"} ${Math.round((32 * count) / total)}%, transparent)` : "";
        return cell;
      })];
    });
    page.table("confusion", `confusion_${now}`, ["true class", ...content.classes], rows, "Columns are the predicted classes", { style: "matrix" });
  }

  function rates() {
    const steps = [...new Set(content.rates.map((row) => row.ratio))], runs = page.runs(), several = runs.length > 1;
    const of = (run, kind, ratio) => page.percent(run.rates.find((row) => row.type === kind && row.ratio === ratio)?.[content.score]);
    const rows = page.kinds().flatMap((kind) => runs.map((run) => [kind, ...(several ? [run.name] : []), ...steps.map((ratio) => of(run, kind, ratio))]));
    page.table("table-rates", "scores_by_rate", ["missing", ...(several ? ["run"] : []), ...steps.map((ratio) => `${Math.round(100 * ratio)} %`)], rows, `${content.score}, percent`);
  }

  function others() {
    const box = page.element("others");
    if (!content.others.length) { box.replaceChildren(); return; }
    box.replaceChildren(make("h3", {}, "Other runs"), make("p", {}, "On the same test samples, pattern by pattern. The difference is this run's OA less the other's, with its "
      + "bootstrap interval and McNemar's exact test; above p = 0.05 it is noise."));
    content.others.forEach((other, i) => {
      box.append(make("div", { id: `other-${i}`, class: "wide", role: "region", "aria-label": `Beside ${other.name}`, tabindex: "0" }));
      const rows = Object.entries(other.patterns).map(([name, row]) => [name, String(row.n), page.percent(content.patterns[name].scores[content.score].value, 2),
        page.percent(row.scores[content.score], 2), row.difference === null ? "–" : `${row.difference > 0 ? "+" : ""}${row.difference.toFixed(2)} (${row.interval.map((end) => end.toFixed(2)).join(" – ")})`,
        row.p_value === null ? "–" : `${row.p_value.toPrecision(2)}${row.p_value > 0.05 ? " (noise)" : ""}`]);
      page.table(`other-${i}`, `beside_${other.name}`, ["sensors", "samples", `${content.score}, this run`, `${content.score}, ${other.name}`, "difference in points", "p"], rows, `${other.name}: ${other.method}`, { marked: now });
    });
  }

  function worth() {
    const found = content.worth;
    if (!found) { page.element("worth-text").textContent = "Known where every sample has one class and there are at most eight sensors."; return; }
    page.element("worth-text").textContent = `Shapley values: OA is ${found.all.toFixed(1)} % with every sensor that saw, and ${found.none.toFixed(1)} % by guessing without any. `
      + "The points between are shared out: a sensor's value is what it adds, averaged over all orders in which sensors can come. Of a class it is the recall. Values of a column add up to what all sensors gain.";
    page.table("table-worth", "worth_of_sensors", ["sensor", "OA", ...content.classes],
      Object.entries(found.sensors).map(([name, row]) => [name, ...row.map((value) => page.percent(value))]), "Points");
    page.element("worth-map").textContent = content.scene ? "The map shows where each sensor matters: choose “Worth of …” under Show." : "";
  }

  function routing() {
    const found = content.routing;
    if (!found) { page.element("routing-text").textContent = "This network has no routers."; page.element("table-routing").replaceChildren(); return; }
    page.element("routing-text").textContent = `Each expert's part of the gates, over ${found.samples} test samples, with ${now}. The bits say how much the first choice of an expert tells of the pattern of missing sensors.`;
    const shares = found.shares[now];
    if (!shares) { page.element("table-routing").replaceChildren(); return; }
    page.table("table-routing", `experts_${now}`, ["block", ...shares[0].map((_, k) => `expert ${k}`), "bits"],
      shares.map((row, i) => [found.rows[i], ...row.map((share) => share.toFixed(3)), found.bits[i].toFixed(3)]));
  }

  function trust() {
    const there = names.filter((name) => content.patterns[name].trust);
    if (!there.length) { page.element("trust-text").textContent = "Known where every sample has one class and its probabilities are kept."; return; }
    page.element("trust-text").textContent = `Reliability, with ${now}: how often samples of like confidence are correct; on the dotted line confidence is the share of correct ones. Risk against coverage: the share of mistakes among the most confident samples, the more of them are decided.`;
    const five = content.risks.indexOf(0.05);
    page.table("table-trust", "trust_by_pattern", ["sensors", "ECE, %", "adaptive ECE, %", "Brier", "NLL", "AURC, %", "decided at risk 5 %, %", "mistakes among them, %"], there.map((name) => {
      const { scores, decided, wrong } = content.patterns[name].trust;
      return [name, scores.ECE.toFixed(1), scores.adaptive_ECE.toFixed(1), scores.Brier.toFixed(3), scores.NLL.toFixed(3), scores.AURC.toFixed(1), (100 * decided[five]).toFixed(1),
        wrong[five] === null ? "–" : (100 * wrong[five]).toFixed(1)];
    }), content.calibrated ? "Calibrated probabilities; thresholds come from the validation table." : "Probabilities as the network gives them (it was not calibrated); thresholds come from these test samples.", { marked: now });
    page.element("abstain-text").textContent = content.scene ? "The map shows which pixels would stay undecided: choose “Undecided pixels” under Show, and the accepted risk." : "";
  }
};

// Names, colours and areas of the classes, and how much of the map changed.
page.drawLegend = () => {
  const { scene, classes } = page.content, now = page.pattern(), map = scene.patterns[now], make = page.make;
  if (!map) { page.element("legend").replaceChildren(make("p", {}, `There is no map with ${now}; patterns= chooses which are drawn.`)); page.element("changes").replaceChildren(); return; }
  const colours = page.element("palette").value === "own" && scene.own_colours ? scene.own_colours : scene.colours;
  const seen = map.pixels.slice(1).reduce((sum, each) => sum + each, 0) || 1;
  const size = (code) => (map.hectares ? [map.hectares[code].toFixed(2)] : []);
  const rows = classes.map((name, k) => [name, String(map.pixels[k + 1]), ((100 * map.pixels[k + 1]) / seen).toFixed(1), ...size(k + 1)]);
  rows.push(["no sensor saw", String(map.pixels[0]), "", ...size(0)]);
  const table = page.table("legend", `areas_${now}`, ["class", "pixels", "%", ...(map.hectares ? ["hectares"] : [])], rows, `Map with ${now}${scene.step > 1 ? "; pixels are those that are shown" : ""}`);
  [...table.tBodies[0].rows].forEach((row, k) => {
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = k < classes.length ? colours[k] : "repeating-linear-gradient(45deg, var(--soft) 0 1px, var(--raised) 1px 4px)";
    row.cells[0].prepend(swatch);
  });
  changes(now, page.map.other());

  function changes(mine, theirs) {
    const a = page.data.patterns[mine].classes.values, b = page.data.patterns[theirs].classes.values, box = page.element("changes");
    if (mine === theirs) { box.replaceChildren(make("p", { class: "note" }, "Switch a sensor off, and what changed stands here.")); return; }
    const pairs = new Map();
    let both = 0, other = 0, gone = 0;
    for (let i = 0; i < a.length; i++) {
      if (b[i] && !a[i]) gone++;
      if (!a[i] || !b[i]) continue;
      both++;
      if (a[i] === b[i]) continue;
      other++;
      const key = `${b[i]} ${a[i]}`;
      pairs.set(key, (pairs.get(key) || 0) + 1);
    }
    const most = [...pairs].sort((x, y) => y[1] - x[1]).slice(0, 4).map(([key, count]) => {
      const [from, to] = key.split(" ").map((code) => classes[code - 1]);
      return make("li", {}, `${from} became ${to}: ${count} pixels`);
    });
    box.replaceChildren(make("p", {}, `Against ${theirs}: ${((100 * other) / (both || 1)).toFixed(1)} % of the pixels that both see have another class (${other} of ${both})${gone ? `, and ${gone} are seen no more` : ""}.`), make("ul", {}, ...most));
  }
};
