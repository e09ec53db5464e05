"use strict";
// The map: pan, zoom, slider, cursor. A view says which part of the map the canvas shows.
page.map = (() => {
  const canvas = page.element("map"), layer = page.element("layer"), right = page.element("right"), slider = page.element("slider");
  const view = { scale: 1, left: 0, top: 0 };
  let cursor = null, drag = null;

  const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });
  const whole = () => {
    const { width, height } = size(), scene = page.content.scene;
    view.scale = Math.min(width / scene.width, height / scene.height);
    view.left = (scene.width - width / view.scale) / 2;
    view.top = (scene.height - height / view.scale) / 2;
    draw();
  };
  const zoom = (factor, x = size().width / 2, y = size().height / 2) => {
    const next = Math.min(64, Math.max(0.05, view.scale * factor));
    view.left += x / view.scale - x / next;
    view.top += y / view.scale - y / next;
    view.scale = next;
    draw();
  };
  const move = (x, y) => { view.left += x / view.scale; view.top += y / view.scale; draw(); };

  // The pattern that the difference is against: that of the right side, or the most complete one.
  const other = () => (right.value.startsWith("pattern:") ? right.value.slice(8) : Object.keys(page.data.patterns)[0]);
  const place = (context, picture) => {
    const scene = page.content.scene;
    context.drawImage(picture, -view.left * view.scale, -view.top * view.scale, scene.width * view.scale, scene.height * view.scale);
  };

  const draw = () => {
    if (!page.data) return;
    const { width, height } = size(), ratio = devicePixelRatio || 1, context = canvas.getContext("2d");
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = false;
    hatch(context, width, height);
    const now = page.pattern();
    if (page.data.patterns[now]) place(context, page.layers.picture(layer.value, now, other()));
    if (right.value) {
      const edge = (width * slider.value) / 1000;
      context.save();
      context.beginPath();
      context.rect(edge, 0, width - edge, height);
      context.clip();
      hatch(context, width, height);
      const shown = right.value.startsWith("pattern:") ? [layer.value === "difference" ? "classes" : layer.value, other()] : [right.value, now];
      const drawable = shown[0].startsWith("picture:") || shown[0] === "labels" || page.data.patterns[shown[1]];
      if (drawable) place(context, page.layers.picture(shown[0], shown[1] in page.data.patterns ? shown[1] : other(), other()));
      context.restore();
      context.fillStyle = page.colour("ink");
      context.fillRect(edge - 1.5, 0, 3, height);
    }
    if (cursor) mark(context);
  };
  // Behind the map: what no sensor of the pattern saw is hatched.
  const hatch = (context, width, height) => {
    context.fillStyle = page.colour("raised");
    context.fillRect(0, 0, width, height);
    const scene = page.content.scene;
    context.save();
    context.beginPath();
    context.rect(-view.left * view.scale, -view.top * view.scale, scene.width * view.scale, scene.height * view.scale);
    context.clip();
    context.strokeStyle = page.colour("soft");
    context.beginPath();
    for (let x = -height; x < width; x += 9) { context.moveTo(x, height); context.lineTo(x + height, 0); }
    context.stroke();
    context.restore();
  };
  const mark = (context) => {
    const side = Math.max(view.scale, 5), middle = (at, from) => (at + 0.5 - from) * view.scale - side / 2;
    for (const [colour, wide] of [["#ffffff", 5], ["#000000", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.strokeRect(middle(cursor[1], view.left), middle(cursor[0], view.top), side, side);
    }
    context.lineWidth = 1;
  };

  const choose = (row, col) => {
    const scene = page.content.scene;
    cursor = [Math.min(scene.height - 1, Math.max(0, row)), Math.min(scene.width - 1, Math.max(0, col))];
    draw();
    page.showPixel(...cursor);
  };
  const under = (event) => {
    const box = canvas.getBoundingClientRect();
    return [Math.floor(view.top + (event.clientY - box.top) / view.scale), Math.floor(view.left + (event.clientX - box.left) / view.scale)];
  };

  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, far: 0 };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [x, y] = [drag.x - event.clientX, drag.y - event.clientY];
    drag.far += Math.abs(x) + Math.abs(y);
    if (drag.far > 4) move(x, y);
    Object.assign(drag, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointerup", (event) => {
    const [row, col] = under(event), scene = page.content.scene;
    if (drag && drag.far <= 4 && row >= 0 && col >= 0 && row < scene.height && col < scene.width) choose(row, col);
    drag = null;
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const pans = { w: [0, -40], s: [0, 40], a: [-40, 0], d: [40, 0] }[event.key.toLowerCase()];
    if (steps) {
      const far = event.shiftKey ? 10 : 1, scene = page.content.scene;
      const from = cursor || [Math.floor(scene.height / 2) - steps[0] * far, Math.floor(scene.width / 2) - steps[1] * far];
      choose(from[0] + steps[0] * far, from[1] + steps[1] * far);
    } else if (pans) move(...pans);
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") whole();
    else if (event.key === "Enter" && cursor) choose(...cursor);
    else return;
    event.preventDefault();
  });
  slider.addEventListener("input", draw);
  addEventListener("resize", () => page.data && whole());

  // What a test or a reader of the page's insides may ask.
  const where = (row, col) => [(col + 0.5 - view.left) * view.scale, (row + 0.5 - view.top) * view.scale];
  return { draw, whole, zoom, choose, other, where, cursor: () => cursor };
})();
