"use strict";
// Charts, by plotly.js: it is unpacked when the first chart comes near, so that the map does not wait for it, and charts
// that are far away are not drawn.
page.startCharts = () => {
  const near = (page.near = new Set());
  let library = null;
  const unpack = async () => {
    const script = page.make("script");
    script.textContent = new TextDecoder().decode(await page.bytes(page.element("charts").textContent));
    document.head.append(script);
    page.drawers.push(page.drawCharts);
  };
  const observer = new IntersectionObserver(async (entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? near.add(target.id) : near.delete(target.id);
    if (!near.size) return;
    await (library ??= unpack());
    page.drawCharts();
  }, { rootMargin: "300px" });
  document.querySelectorAll(".chart").forEach((box) => observer.observe(box));
};

page.drawCharts = () => {
  const { content } = page, now = page.pattern(), names = Object.keys(content.patterns);
  const colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f"];
  const dashes = ["solid", "dash", "dot", "dashdot"], shapes = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"];
  const drawn = new Set();

  const chart = (id, label, traces, layout = {}) => {
    drawn.add(id);
    const ink = page.colour("ink"), line = page.colour("line"), box = page.element(id);
    box.classList.remove("empty");
    if (!page.near.has(id)) return;
    const axis = ({ title, ...own } = {}) => ({ gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...own,
      ...(title ? { title: { ...title, font: { size: 13 } } } : {}) });
    const base = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 }, margin: { l: 56, r: 16, t: 34, b: 48 },
      height: 360, title: { text: label, font: { size: 14 }, x: 0, xanchor: "left" }, legend: { orientation: "h", y: -0.28, yanchor: "top" }, ...layout,
      xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis) };
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", `Chart: ${label}. The table below has its numbers.`);
    Plotly.react(box, traces, base, { displayModeBar: false, responsive: true });
    if (!box.nextElementSibling?.matches(".png")) {
      const button = page.make("button", { type: "button", class: "save png", "aria-label": `Save the chart ${label} as PNG` }, "Save picture");
      button.addEventListener("click", () => Plotly.downloadImage(box, { format: "png", filename: id, width: 1200, height: 600 }));
      box.after(button);
    }
  };

  const ends = (scores) => ({ type: "data", symmetric: false, color: page.colour("soft"), array: scores.map((s) => (s.interval ? s.interval[1] - s.value : 0)), arrayminus: scores.map((s) => (s.interval ? s.value - s.interval[0] : 0)) });
  chart("chart-patterns", "Scores under each pattern, percent", content.scores.map((score, i) => {
    const scores = names.map((name) => content.patterns[name].scores[score]);
    return { type: "bar", name: score, x: names, y: scores.map((s) => s.value), error_y: ends(scores), marker: { color: colours[i], line: { width: names.map((name) => (name === now ? 2 : 0)), color: page.colour("ink") } } };
  }), { barmode: "group", shapes: content.chance ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: content.chance, y1: content.chance, line: { dash: "dot", color: page.colour("soft") } }] : [] });

  const kinds = [...new Set(content.rates.map((row) => row.type))];
  chart("chart-rates", `${content.score} against the missing rate, percent`, kinds.map((kind, i) => {
    const rows = content.rates.filter((row) => row.type === kind);
    return { type: "scatter", mode: "lines+markers", name: kind, x: rows.map((row) => 100 * row.ratio), y: rows.map((row) => row[content.score]),
      line: { color: colours[i % colours.length], dash: dashes[Math.floor(i / colours.length) % 4] }, marker: { symbol: shapes[i % shapes.length], size: 8 } };
  }), { xaxis: { title: { text: "incomplete samples, percent" } } });

  if (content.worth) {
    const groups = ["OA", ...content.classes];
    chart("chart-worth", "What each sensor is worth, points", Object.entries(content.worth.sensors).map(([name, row], i) => ({ type: "bar", name, x: groups, y: row, marker: { color: colours[i % colours.length] } })), { barmode: "relative" });
  }
  const shares = content.routing?.shares[now];
  if (shares) {
    chart("chart-routing", `Experts in use with ${now}`, [{ type: "heatmap", z: shares, x: shares[0].map((_, k) => `expert ${k}`), y: content.routing.rows, zmin: 0, colorscale: "Cividis", hovertemplate: "%{y}, %{x}: %{z:.3f}<extra></extra>" }], { yaxis: { autorange: "reversed" } });
  }
  const trust = content.patterns[now]?.trust;
  if (trust) {
    const bins = trust.bins.filter((bin) => bin.n), axis = { range: [0, 100.5] };
    chart("chart-reliability", `Reliability with ${now}, percent`, [
      { type: "scatter", mode: "lines", name: "as it should be", x: [0, 100], y: [0, 100], line: { dash: "dot", color: page.colour("soft") } },
      { type: "scatter", mode: "lines+markers", name: "right", x: bins.map((bin) => 100 * bin.confidence), y: bins.map((bin) => 100 * bin.accuracy), text: bins.map((bin) => `${bin.n} samples`), marker: { color: colours[0], size: bins.map((bin) => 7 + 17 * Math.sqrt(bin.n / content.patterns[now].n)) }, line: { color: colours[0] } },
    ], { xaxis: { ...axis, title: { text: "confidence" } }, yaxis: { ...axis, title: { text: "share that is right" } } });
    const curves = names.filter((name) => content.patterns[name].trust && name !== now).concat(now);
    chart("chart-risk", "Risk against coverage, percent", curves.map((name) => {
      const curve = content.patterns[name].trust, mine = name === now;
      return { type: "scatter", mode: "lines", name: mine ? `${name} (now)` : name, x: curve.coverage.map((v) => 100 * v), y: curve.risk.map((v) => 100 * v), line: { color: mine ? colours[1] : page.colour("soft"), width: mine ? 4 : 1 }, showlegend: mine };
    }), { xaxis: { range: [0, 100.5], title: { text: "decided samples" } }, yaxis: { rangemode: "tozero", title: { text: "mistakes among them" } } });
  }
  for (const box of document.querySelectorAll(".chart")) {
    if (drawn.has(box.id)) continue;
    box.classList.add("empty");
    if (box.classList.contains("js-plotly-plot")) { Plotly.purge(box); if (box.nextElementSibling?.matches(".png")) box.nextElementSibling.remove(); }
  }
};
