"use strict";
// One pixel: what every pattern says of it, what the sensors measured there, what the reference says.
page.showPixel = (row, col) => {
  const { classes, modalities, scene } = page.content, make = page.make, box = page.element("pixel");
  const place = row * scene.width + col, seen = page.saw(row, col, modalities);
  const middle = (at) => at * scene.step + (scene.step > 1 ? Math.floor(scene.step / 2) : 0);
  const truth = page.data.labels ? classes[page.data.labels[place] - 1] || "none here" : "the scene has none";
  const now = page.pattern();
  const lines = [
    `Pixel: row ${middle(row)}, column ${middle(col)}.`,
    `Seen by ${seen.length ? seen.join(", ") : "no sensor"}. Reference label: ${truth}.`,
  ];
  const names = Object.keys(page.data.patterns);
  if (page.data.patterns[now]) {
    const here = page.at(now, row, col);
    lines.push(here.code ? `With ${now}: ${classes[here.code - 1]}${here.confidence === null ? "" : `, ${here.confidence} %`}.`
      : `With ${now}: no sensor saw it.`);
  }
  const head = make("tr", {}, make("th", { scope: "col" }, "sensors that are on"), make("th", { scope: "col" }, "uses"),
    make("th", { scope: "col" }, "class"), make("th", { scope: "col" }, "confidence"),
    ...(page.content.coverage === null ? [] : [make("th", { scope: "col" }, "classes in the set")]),
    ...classes.map((name) => make("th", { scope: "col" }, name)));
  const rows = names.map((name) => {
    const found = page.at(name, row, col), used = page.saw(row, col, name.split("+"));
    const blind = !found.code;
    return make("tr", name === now ? { class: "now", "data-pattern": name } : { "data-pattern": name },
      make("th", { scope: "row" }, name), make("td", {}, used.join("+") || "nothing"),
      make("td", {}, blind ? "–" : classes[found.code - 1]), make("td", {}, found.confidence === null ? "–" : String(found.confidence)),
      ...(page.content.coverage === null ? [] : [make("td", {}, blind ? "–" : String(found.set))]),
      ...found.said.map((share) => make("td", {}, blind ? "–" : (100 * share).toFixed(0))));
  });
  const table = make("table", { "data-name": `pixel_${middle(row)}_${middle(col)}` },
    make("caption", {}, `Probability of each class, percent${scene.points > 1 ? `; known for squares of ${scene.points * scene.step} pixels` : ""}`),
    make("thead", {}, head), make("tbody", {}, ...rows));
  const wide = make("div", { class: "wide", role: "region", "aria-label": "Probabilities of the pixel", tabindex: "0" }, table);
  const measured = make("div", { class: "measured" }, ...Object.keys(scene.sensors).map((name) => page.spectrum(name, row, col)));
  box.replaceChildren(make("h3", {}, "The pixel"), make("p", {}, lines.join(" ")), wide, page.csvButton(table),
    make("h3", {}, "What each sensor measured there"), measured);
};

page.spectrum = (name, row, col) => {
  const make = page.make, values = page.measured(name, row, col), there = values.filter((each) => each.value !== null);
  const title = make("strong", {}, name);
  if (!there.length) return make("div", {}, title, " nothing");
  const short = (value) => Number(value.toPrecision(3)).toString();
  const shown = there.length > 8 ? `${there.length} bands, ${short(Math.min(...there.map((e) => e.value)))} to ${short(Math.max(...there.map((e) => e.value)))}`
    : there.map((each) => `band ${each.band}: ${short(each.value)}`).join(", ");
  const told = make("div", {}, title, ` ${shown}`);
  if (there.length < 3) return told;
  const low = Math.min(...there.map((e) => e.value)), span = Math.max(...there.map((e) => e.value)) - low || 1;
  const points = there.map((each, i) => `${(4 + (i * 392) / (there.length - 1)).toFixed(1)},${(64 - (58 * (each.value - low)) / span).toFixed(1)}`);
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg"), line = document.createElementNS(space, "polyline");
  for (const [key, value] of Object.entries({ viewBox: "0 0 400 70", class: "spectrum", role: "img", preserveAspectRatio: "none",
    "aria-label": `Values of ${name} by band` })) svg.setAttribute(key, value);
  for (const [key, value] of Object.entries({ points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": "2" })) line.setAttribute(key, value);
  svg.append(line);
  told.append(svg);
  return told;
};
