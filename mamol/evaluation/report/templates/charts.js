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
  const charts = page.charts();
  for (const box of document.querySelectorAll(".chart")) {
    const chart = charts[box.id], saving = box.nextElementSibling?.matches(".png") ? box.nextElementSibling : null;
    box.classList.toggle("empty", !chart);
    if (chart && page.near.has(box.id)) page.drawChart(box, chart);
    else if (!chart && box.classList.contains("js-plotly-plot")) {
      Plotly.purge(box);
      saving?.remove();
    }
  }
};

page.drawChart = (box, { label, traces, layout = {} }) => {
  const ink = page.colour("ink"), line = page.colour("line");
  const axis = ({ title, ...own } = {}) => ({
    gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...own,
    ...(title ? { title: { text: title, font: { size: 13 } } } : {}),
  });
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
    margin: { l: 56, r: 16, t: 34, b: 48 }, height: 360,
    title: { text: label, font: { size: 14 }, x: 0, xanchor: "left" }, legend: { orientation: "h", y: -0.28, yanchor: "top" },
    ...layout, xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
  };
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `Chart: ${label}. The table below has its numbers.`);
  Plotly.react(box, traces, base, { displayModeBar: false, responsive: true });
  if (box.nextElementSibling?.matches(".png")) return;
  const button = page.make("button", { type: "button", class: "save png", "aria-label": `Save the chart ${label} as PNG` }, "Save picture");
  button.addEventListener("click", () => Plotly.downloadImage(box, { format: "png", filename: box.id, width: 1200, height: 600 }));
  box.after(button);
};

// The charts of the pattern that is on, by the id of their box; those that there is nothing for are left out.
page.charts = () => {
  const { content } = page, now = page.pattern(), names = Object.keys(content.patterns), found = {};
  const colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f"];
  const soft = page.colour("soft");
  // Lines are told apart by colour, by the shape of their points, and by their dashes.
  const marked = (i, dashes = Math.floor(i / colours.length)) => ({
    type: "scatter", mode: "lines+markers",
    line: { color: colours[i % colours.length], dash: ["solid", "dash", "dot", "dashdot"][dashes % 4] },
    marker: { symbol: ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"][i % 7], size: 8 },
  });

  const patterns = () => {
    const ends = (scores, side) => scores.map(({ value, interval }) => (interval ? Math.abs(interval[side] - value) : 0));
    const bars = content.scores.map((score, i) => {
      const scores = names.map((name) => content.patterns[name].scores[score]);
      return {
        type: "bar", name: score, x: names, y: scores.map(({ value }) => value),
        error_y: { type: "data", symmetric: false, color: soft, array: ends(scores, 1), arrayminus: ends(scores, 0) },
        marker: { color: colours[i], line: { width: names.map((name) => (name === now ? 2 : 0)), color: page.colour("ink") } },
      };
    });
    const y = content.chance;
    const chance = { type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { dash: "dot", color: soft } };
    return { label: `Scores under each pattern, percent${y ? `; dotted: ${content.score} of a guess` : ""}`, traces: bars, layout: { barmode: "group", shapes: y ? [chance] : [] } };
  };

  // Of one run a line is what goes missing; of several a line is a run, and the reader chooses what goes missing.
  const rates = () => {
    const runs = page.runs(), gone = page.element("gone").value;
    const line = (rows, name, style) => ({ ...style, name, x: rows.map(({ ratio }) => 100 * ratio), y: rows.map((row) => row[content.score]) });
    const of = (run, kind) => run.rates.filter(({ type }) => type === kind);
    const traces = runs.length > 1 ? runs.map((run, i) => line(of(run, gone), run.name, marked(i, i)))
      : page.kinds().map((kind, i) => line(of(runs[0], kind), kind, marked(i)));
    const label = `${content.score} against the missing rate, percent${runs.length > 1 ? `; missing: ${gone}` : ""}`;
    return { label, traces, layout: { xaxis: { title: "incomplete samples, percent" } } };
  };

  const worth = () => {
    const bars = Object.entries(content.worth.sensors).map(([name, row], i) => (
      { type: "bar", name, x: ["OA", ...content.classes], y: row, marker: { color: colours[i % colours.length] } }));
    return { label: "What each sensor is worth, points", traces: bars, layout: { barmode: "relative" } };
  };

  const routing = (shares) => {
    const map = { type: "heatmap", z: shares, x: shares[0].map((_, k) => `expert ${k}`), y: content.routing.rows, zmin: 0,
      colorscale: "Cividis", hovertemplate: "%{y}, %{x}: %{z:.3f}<extra></extra>" };
    return { label: `Experts in use with ${now}`, traces: [map], layout: { yaxis: { autorange: "reversed" } } };
  };

  const reliability = ({ bins }, n) => {
    const ideal = { type: "scatter", mode: "lines", name: "as it should be", x: [0, 100], y: [0, 100], line: { dash: "dot", color: soft } };
    const real = {
      type: "scatter", mode: "lines+markers", name: "measured", line: { color: colours[0] },
      x: bins.map((bin) => 100 * bin.confidence), y: bins.map((bin) => 100 * bin.accuracy), text: bins.map((bin) => `${bin.n} samples`),
      marker: { color: colours[0], size: bins.map((bin) => 7 + 17 * Math.sqrt(bin.n / n)) },
    };
    const axis = (title) => ({ range: [0, 100.5], title });
    return { label: `Reliability with ${now}, percent`, traces: [ideal, real], layout: { xaxis: axis("confidence"), yaxis: axis("correct samples") } };
  };

  const risk = () => {
    const curves = names.filter((name) => content.patterns[name].trust && name !== now).concat(now).map((name) => {
      const { coverage, risk } = content.patterns[name].trust, mine = name === now;
      return {
        type: "scatter", mode: "lines", name: mine ? `${name} (now)` : name, showlegend: mine,
        x: coverage.map((share) => 100 * share), y: risk.map((share) => 100 * share), line: { color: mine ? colours[1] : soft, width: mine ? 4 : 1 },
      };
    });
    const layout = { xaxis: { range: [0, 100.5], title: "decided samples" }, yaxis: { rangemode: "tozero", title: "mistakes among them" } };
    return { label: "Risk against coverage, percent; thin: other patterns", traces: curves, layout };
  };

  found["chart-patterns"] = patterns();
  found["chart-rates"] = rates();
  if (content.worth) found["chart-worth"] = worth();
  const shares = content.routing?.shares[now], here = content.patterns[now];
  if (shares) found["chart-routing"] = routing(shares);
  if (here?.trust) Object.assign(found, { "chart-reliability": reliability(here.trust, here.n), "chart-risk": risk() });
  return found;
};
