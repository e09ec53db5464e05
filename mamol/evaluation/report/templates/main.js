"use strict";
// Switches, choices, and the order in which things begin.
page.pattern = () => page.name(page.on);

page.switches = () => {
  const box = page.element("switches");
  for (const name of page.content.modalities) {
    page.on.add(name);
    const button = page.make("button", { type: "button", role: "switch", "aria-checked": "true", "data-sensor": name }, name);
    button.addEventListener("click", () => {
      if (page.on.has(name) && page.on.size === 1) {
        page.element("status").textContent = `${name} is the last sensor that is on; switch another one on first.`;
        return;
      }
      if (!page.on.delete(name)) page.on.add(name);
      button.setAttribute("aria-checked", String(page.on.has(name)));
      page.redraw();
    });
    box.append(button);
  }
};

page.tellStatus = () => {
  const { content } = page, now = page.pattern(), here = content.patterns[now], map = content.scene?.patterns[now];
  const score = here ? `${content.score} ${page.told(here.scores[content.score])} %` : "no test sample";
  const mean = map ? `; mean confidence of the map ${page.mean(now)} %` : "";
  page.element("status").textContent = `With ${now}: ${score}${mean}.`;
};

page.mean = (name) => {
  const known = page.data.patterns[name].confidence.values.filter((value) => value !== 255);
  return known.length ? (known.reduce((sum, value) => sum + value, 0) / known.length).toFixed(1) : "–";
};

page.choices = () => {
  const { scene } = page.content, layer = page.element("layer"), right = page.element("right");
  const option = (select, value, text) => select.append(page.make("option", { value }, text));
  const sensors = Object.keys(scene.sensors);
  for (const [value, text] of [["classes", "Classes"], ["confidence", "Confidence"], ["difference", "What changed"], ["undecided", "Undecided pixels"],
    ["sensors", "Which sensors saw"]]) option(layer, value, text);
  if (page.content.coverage !== null) option(layer, "sets", "Size of the set of classes");
  if (scene.labels) option(layer, "labels", "Reference labels");
  for (const name of sensors) option(layer, `worth:${name}`, `Worth of ${name}`);
  for (const name of sensors) option(layer, `picture:${name}`, `Picture of ${name}`);
  option(right, "", "nothing");
  for (const name of Object.keys(scene.patterns)) option(right, `pattern:${name}`, `with ${name}`);
  for (const name of sensors) option(right, `picture:${name}`, `picture of ${name}`);
  if (scene.labels) option(right, "labels", "reference labels");
  for (const risk of page.content.risks) option(page.element("risk"), String(risk), `${100 * risk} %`);
  page.element("risk").value = "0.05";
  page.element("palette-box").hidden = !scene.own_colours;
  for (const id of ["layer", "right", "risk", "palette"]) page.element(id).addEventListener("change", page.redraw);
  page.element("closer").addEventListener("click", () => page.map.zoom(1.25));
  page.element("farther").addEventListener("click", () => page.map.zoom(0.8));
  page.element("whole").addEventListener("click", page.map.whole);
  page.element("map-png").addEventListener("click", () => page.element("map").toBlob((blob) => page.save(blob, `${scene.name}_${page.pattern()}_${layer.value}.png`.replace(/[^0-9A-Za-z_.+-]+/g, "_"))));
  const notes = [];
  if (scene.preview) notes.push(`A preview: this network needs a window for every pixel, so every ${scene.step} pixels one is shown.`);
  else if (scene.step > 1) notes.push(`The scene is large: every ${scene.step} pixels one is shown.`);
  if (scene.stride) notes.push(`Windows stand ${scene.stride} pixels apart.`);
  if (scene.confidence_step > 1) notes.push(`Confidence is shown for squares of ${scene.confidence_step} shown pixels.`);
  notes.push("Hatched: no sensor that is on saw it.");
  page.element("map-note").textContent = notes.join(" ");
};

// Where runs are compared, the reader chooses what goes missing in the curves.
page.choiceOfRates = () => {
  const select = page.element("gone"), kinds = page.kinds();
  for (const kind of kinds) select.append(page.make("option", { value: kind }, kind));
  select.value = kinds.at(-1);
  page.element("gone-box").hidden = page.runs().length === 1;
  select.addEventListener("change", page.redraw);
};

page.drawMap = () => {
  const kind = page.element("layer").value.split(":")[0];
  page.element("slider").hidden = !page.element("right").value;
  page.element("risk-box").hidden = kind !== "undecided";
  page.drawLegend();
  page.drawScale(kind);
  page.map.draw();
  page.element("map").setAttribute("aria-label", `Map of ${page.content.scene.name} with ${page.pattern()}: ${page.element("layer").selectedOptions[0].textContent}`);
  const cursor = page.map.cursor();
  if (cursor) page.showPixel(...cursor);
};

// What the colours of a layer without classes mean.
page.drawScale = (kind) => {
  const box = page.element("scale"), make = page.make;
  const told = { confidence: ["0 %", "confidence 100 %", page.layers.sequential], sets: [`all ${page.content.classes.length} classes`, "one class", page.layers.sequential], worth: ["its class loses without", "gains with the sensor", page.layers.diverging] }[kind];
  box.hidden = !told && kind !== "sensors" && kind !== "undecided" && kind !== "difference";
  if (told) {
    const bar = make("span", { class: "bar" });
    bar.style.background = `linear-gradient(90deg, ${[0, 0.2, 0.4, 0.6, 0.8, 1].map((at) => `rgb(${told[2](at).join(",")})`).join(",")})`;
    box.replaceChildren(told[0], bar, told[1]);
  } else if (kind === "sensors") {
    const { modalities } = page.content, colours = page.seenColours(), mask = page.bits([...page.on]);
    const codes = [...new Set(Array.from(page.data.natural, (bits) => bits & mask))].filter(Boolean).sort((a, b) => b - a);
    box.replaceChildren(...codes.map((code) => {
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" }), word = colours.get(code);
      swatch.style.background = `rgb(${word & 255}, ${(word >> 8) & 255}, ${(word >> 16) & 255})`;
      return make("span", {}, swatch, modalities.filter((each, bit) => (code >> bit) & 1).join("+"));
    }));
  } else if (kind === "undecided") {
    if (!page.data.patterns[page.pattern()]) { box.replaceChildren(); return; }
    const found = page.undecided(page.pattern()), left = found.filter((each) => each === 1).length, known = found.filter((each) => each < 2).length;
    box.replaceChildren(`Grey with dots: undecided, ${((100 * left) / (known || 1)).toFixed(1)} % of the map, by the sensors that saw each pixel.`);
  } else if (kind === "difference") box.replaceChildren(`Coloured by the class now where it is another than with ${page.map.other()}; grey where it is the same.`);
};

(async () => {
  page.theme();
  page.switches();
  page.choiceOfRates();
  await page.load();
  if (page.content.scene) {
    page.element("with-map").hidden = false;
    page.choices();
    page.drawers.push(page.drawMap);
    page.map.whole();
  } else page.element("without-map").hidden = false;
  page.drawers.push(page.tellStatus, page.drawTables);
  page.redraw();
  for (const table of document.querySelectorAll("table.facts")) table.after(page.csvButton(table));
  page.startCharts();
  document.documentElement.dataset.ready = performance.now().toFixed(0); // milliseconds from when the page was asked for
})();
