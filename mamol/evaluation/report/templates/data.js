"use strict";
// The arrays of the page, unpacked in the browser: zlib's stream in base64.
page.bytes = async (text) => {
  const raw = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
};

page.array = async (packed) => {
  const buffer = await page.bytes(packed.data);
  const values = packed.type === "uint16" ? new Uint16Array(buffer) : new Uint8Array(buffer);
  return { values, shape: packed.shape };
};

page.load = async () => {
  const scene = page.content.scene;
  if (!scene) return;
  const found = { patterns: {}, sensors: {} };
  const waiting = [page.array(scene.natural).then((natural) => { found.natural = natural.values; })];
  if (scene.labels) waiting.push(page.array(scene.labels).then((labels) => { found.labels = labels.values; }));
  for (const [name, each] of Object.entries(scene.patterns)) {
    const own = (found.patterns[name] = {});
    for (const part of ["classes", "confidence", "probabilities", "sets"]) {
      if (each[part]) waiting.push(page.array(each[part]).then((array) => { own[part] = array; }));
    }
  }
  for (const [name, each] of Object.entries(scene.sensors)) {
    const own = (found.sensors[name] = {});
    waiting.push(page.array(each.values).then((array) => { own.values = array; }));
    own.picture = new Image();
    own.picture.src = each.picture;
    waiting.push(own.picture.decode());
  }
  await Promise.all(waiting);
  page.data = found;
};

// What is known of a pixel that is shown: row and column count from 0.
page.at = (name, row, col) => {
  const scene = page.content.scene, map = page.data.patterns[name];
  const place = row * scene.width + col;
  const [, high, wide] = map.probabilities.shape;
  const down = Math.min(Math.floor(row / scene.points), high - 1), across = Math.min(Math.floor(col / scene.points), wide - 1);
  const said = page.content.classes.map((_, k) => map.probabilities.values[(k * high + down) * wide + across] / 255);
  const set = map.sets ? map.sets.values[down * wide + across] : null;
  return { code: map.classes.values[place], confidence: page.confidence(name, row, col), said, set };
};

// Whole percent; null where no sensor of the pattern saw the pixel.
page.confidence = (name, row, col) => {
  const { values, shape } = page.data.patterns[name].confidence, step = page.content.scene.confidence_step;
  const value = values[Math.min(Math.floor(row / step), shape[0] - 1) * shape[1] + Math.min(Math.floor(col / step), shape[1] - 1)];
  return value === 255 ? null : value;
};

// The sensors that saw a pixel, of those of a pattern.
page.saw = (row, col, names) => {
  const bits = page.data.natural[row * page.content.scene.width + col];
  return page.content.modalities.filter((each, bit) => (bits >> bit) & 1 && names.includes(each));
};

page.measured = (name, row, col) => {
  const scene = page.content.scene, { values, shape } = page.data.sensors[name].values, { bands, ends } = scene.sensors[name];
  const down = Math.min(Math.floor(row / scene.points), shape[1] - 1), across = Math.min(Math.floor(col / scene.points), shape[2] - 1);
  return bands.map((band, i) => {
    const step = values[(i * shape[1] + down) * shape[2] + across];
    return { band, value: step ? ends[i][0] + ((step - 1) / 254) * (ends[i][1] - ends[i][0]) : null };
  });
};
