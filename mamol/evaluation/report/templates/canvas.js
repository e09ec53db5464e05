"use strict";
// Pictures of the map, pixel by pixel: each layer under a pattern is an offscreen canvas, made once.
page.layers = (() => {
  const made = new Map();
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const word = ([r, g, b], alpha = 255) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
  // Cividis, and blue - white - orange: both are told apart by colour-blind eyes.
  const ramp = (stops) => (share) => {
    const at = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1), low = Math.floor(at);
    return stops[low].map((value, i) => Math.round(value + (at - low) * (stops[low + 1][i] - value)));
  };
  const sequential = ramp(["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"].map(rgb));
  const diverging = ramp(["#2166ac", "#92c5de", "#f7f7f7", "#fdb863", "#b35806"].map(rgb));
  const UNSEEN = word([0, 0, 0], 0), PALE = word([205, 205, 205]), DARK = word([70, 70, 70]);

  const colours = () => {
    const scene = page.content.scene;
    const own = page.element("palette").value === "own" && scene.own_colours;
    return (own || scene.colours).map(rgb);
  };
  const codes = (values) => {
    const table = [UNSEEN, ...colours().map((each) => word(each))];
    return (place) => table[values[place]];
  };

  // A function from the place of a pixel to its colour.
  const painter = (layer, pattern, other) => {
    const scene = page.content.scene, map = page.data.patterns[pattern], width = scene.width;
    const [kind, sensor] = layer.split(":");
    if (kind === "labels") return codes(page.data.labels);
    if (kind === "classes") return codes(map.classes.values);
    if (kind === "confidence") {
      const table = Array.from({ length: 101 }, (_, value) => word(sequential(value / 100)));
      return (place) => table[page.confidence(pattern, Math.floor(place / width), place % width)] ?? UNSEEN;
    }
    if (kind === "undecided") {
      const paint = codes(map.classes.values), left = page.undecided(pattern);
      return (place) => {
        const row = Math.floor(place / width), col = place % width;
        return left[place] === 2 ? UNSEEN : left[place] === 0 ? paint(place) : (row + col) % 4 ? PALE : DARK;
      };
    }
    if (kind === "difference") {
      const paint = codes(map.classes.values), theirs = page.data.patterns[other].classes.values;
      return (place) => (map.classes.values[place] === theirs[place] ? (map.classes.values[place] ? PALE : UNSEEN) : paint(place));
    }
    if (kind === "sets") {
      const most = page.content.classes.length;
      return (place) => {
        const { set } = page.at(pattern, Math.floor(place / width), place % width);
        return set ? word(sequential(1 - (set - 1) / Math.max(1, most - 1))) : UNSEEN; // as bright as the confidence where it is sure
      };
    }
    if (kind === "sensors") {
      const mask = page.bits(pattern.split("+")), table = page.seenColours();
      return (place) => table.get(page.data.natural[place] & mask) ?? UNSEEN;
    }
    return (place) => { // worth:<sensor>
      const gain = page.gain(sensor, Math.floor(place / width), place % width);
      return gain === null ? UNSEEN : word(diverging(0.5 + gain / 2));
    };
  };

  // The picture of a sensor, with nothing where it saw nothing.
  const photograph = (context, sensor) => {
    const { height, width } = page.content.scene, bit = page.bits([sensor]);
    context.drawImage(page.data.sensors[sensor].picture, 0, 0, width, height);
    const image = context.getImageData(0, 0, width, height), words = new Uint32Array(image.data.buffer);
    page.data.natural.forEach((bits, place) => { if (!(bits & bit)) words[place] = UNSEEN; });
    context.putImageData(image, 0, 0);
  };

  const picture = (layer, pattern, other) => {
    const key = [layer, pattern, layer === "difference" ? other : "", page.element("palette").value, page.element("risk").value].join("|");
    if (made.has(key)) return made.get(key);
    const { height, width } = page.content.scene;
    const canvas = page.make("canvas", { width, height }), context = canvas.getContext("2d", { willReadFrequently: true });
    if (layer.startsWith("picture:")) photograph(context, layer.slice(8));
    else {
      const image = context.createImageData(width, height), words = new Uint32Array(image.data.buffer);
      const paint = painter(layer, pattern, other);
      for (let place = 0; place < words.length; place++) words[place] = paint(place);
      context.putImageData(image, 0, 0);
    }
    if (made.size > 40) made.clear();
    made.set(key, canvas);
    return canvas;
  };
  return { picture, sequential, diverging, rgb, word };
})();

page.bits = (names) => page.content.modalities.reduce((sum, each, bit) => sum + (names.includes(each) ? 2 ** bit : 0), 0);

// Which sensors saw: a colour for each pattern that occurs.
page.seenColours = () => {
  const palette = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999", "#332288", "#88CCEE",
    "#44AA99", "#117733", "#DDCC77", "#882255", "#661100"];
  const all = 2 ** page.content.modalities.length - 1;
  return new Map(Array.from({ length: Math.min(all, 255) }, (_, i) => [all - i, page.layers.word(page.layers.rgb(palette[i % palette.length]))]));
};

// How much of the probability of the map's class (of all sensors that are on) goes without a sensor; null where it was not used.
page.gain = (sensor, row, col) => {
  const drawn = page.data.patterns, now = page.pattern(), fewer = now.split("+").filter((each) => each !== sensor);
  if (!now.split("+").includes(sensor) || !page.saw(row, col, [sensor]).length) return null;
  const whole = page.at(now, row, col), best = whole.said.indexOf(Math.max(...whole.said));
  const left = fewer.join("+");
  if (!fewer.length || !page.saw(row, col, fewer).length) return whole.said[best] - 1 / page.content.classes.length;
  return drawn[left] ? whole.said[best] - page.at(left, row, col).said[best] : null;
};

// The least confidence, in whole percent, with which the accepted risk is kept under a pattern; 101 where none does.
page.threshold = (pattern) => {
  const trust = page.content.patterns[pattern]?.trust, least = trust?.accepted[page.content.risks.indexOf(Number(page.element("risk").value))];
  return least === null || least === undefined ? 101 : Math.ceil(100 * least - 1e-9);
};

// Of each pixel 0 where it is decided, 1 where it is not, 2 where no sensor saw it: by the sensors that really saw it.
page.undecided = (pattern) => {
  const { height, width } = page.content.scene, mask = page.bits(pattern.split("+")), known = new Map();
  const least = (bits) => {
    if (!known.has(bits)) known.set(bits, page.threshold(page.content.modalities.filter((each, bit) => (bits >> bit) & 1).join("+")));
    return known.get(bits);
  };
  return Uint8Array.from({ length: height * width }, (_, place) => {
    const sure = page.confidence(pattern, Math.floor(place / width), place % width);
    return sure === null ? 2 : sure >= least(page.data.natural[place] & mask) ? 0 : 1;
  });
};
