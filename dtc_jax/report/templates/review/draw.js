// Drawing a slice: grey levels, heat, outline, cross, letters and scale.
const OUTLINE = "#4fd8ff";
const heatTop = Math.max(0, ...content.lesions.map((lesion) => lesion.heat ?? 0));
const scratch = document.createElement("canvas");
const ready = {}; // grey levels by window

function greys() {
  const { center, width } = WINDOWS[state.window];
  ready[state.window] ??= Uint8ClampedArray.from(
    content.levels, (hu) => Math.round(((hu - center) / width + 0.5) * 255));
  return ready[state.window];
}

let frame = 0;
function redraw() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    drawOverview();
    if (!state.arrays) return;
    views.forEach(draw);
    showReadout();
  });
}

// The context of an emptied canvas, in CSS pixels.
function cleared(canvas) {
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return pen;
}

function draw(view) {
  const { lesion, arrays, position } = state;
  const { canvas } = view;
  if (!arrays || !canvas.clientWidth) return;
  const pen = cleared(canvas);
  const place = placed(view);
  const slice = sliceOf(view, lesion.shape, position);
  drawGrey(pen, place, slice, arrays.codes);
  if (state.heat && arrays.heat) drawHeat(pen, view, place, slice, arrays);
  if (state.outline) drawOutline(pen, place, slice, arrays.mask);
  if (state.cross) drawCross(pen, view, place);
  drawLetters(pen, view);
  drawScale(pen, view, place);
  const number = position[view.across] + 1;
  view.slider.max = lesion.shape[view.across];
  view.slider.value = number;
  view.output.textContent = `${number}/${lesion.shape[view.across]}`;
  canvas.setAttribute("aria-label", `Lesion ${lesion.id}, ${view.name} slice ${number}`);
}

// The voxels of a slice: the index of the first, and the steps in the array down and to the right.
function sliceOf(view, shape, position) {
  const strides = [shape[1] * shape[2], shape[2], 1];
  return {
    start: position[view.across] * strides[view.across],
    down: strides[view.down], right: strides[view.right],
    height: shape[view.down], width: shape[view.right],
  };
}

// Paints `color(array index, pixels, offset)` of every voxel, each `size` CSS pixels large.
function paint(pen, corner, size, slice, color) {
  const pixels = new ImageData(slice.width, slice.height);
  for (let row = 0, to = 0; row < slice.height; row += 1) {
    let from = slice.start + row * slice.down;
    for (let column = 0; column < slice.width; column += 1, from += slice.right, to += 4) {
      color(from, pixels.data, to);
    }
  }
  scratch.width = slice.width;
  scratch.height = slice.height;
  scratch.getContext("2d").putImageData(pixels, 0, 0);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(scratch, ...corner, slice.width * size[0], slice.height * size[1]);
}

function drawGrey(pen, { corner, step }, slice, codes) {
  const grey = greys();
  paint(pen, corner, step, slice, (from, data, to) => {
    data[to] = data[to + 1] = data[to + 2] = grey[codes[from]];
    data[to + 3] = 255;
  });
}

// Weak heat fades out; above a tenth of the scale it has the chosen opacity.
function drawHeat(pen, view, { corner, step }, slice, { heat, heatShape }) {
  const coarse = state.position.map((at) => Math.floor(at / content.heatStep));
  const scale = heatTop ? state.lesion.heat / heatTop : 0;
  pen.save();
  pen.beginPath();
  pen.rect(...corner, slice.width * step[0], slice.height * step[1]);
  pen.clip();
  const size = step.map((side) => side * content.heatStep);
  paint(pen, corner, size, sliceOf(view, heatShape, coarse), (from, data, to) => {
    const level = Math.round(heat[from] * scale);
    const color = content.colors[level];
    [data[to], data[to + 1], data[to + 2]] = color;
    data[to + 3] = 255 * state.opacity * Math.min(1, level / 25);
  });
  pen.restore();
}

function drawOutline(pen, { corner, step }, slice, mask) {
  const inside = (row, column) => row >= 0 && column >= 0 && row < slice.height && column < slice.width
    && inMask(mask, slice.start + row * slice.down + column * slice.right) === 1;
  const path = new Path2D();
  const line = (row, column, rows, columns) => {
    path.moveTo(corner[0] + column * step[0], corner[1] + row * step[1]);
    path.lineTo(corner[0] + (column + columns) * step[0], corner[1] + (row + rows) * step[1]);
  };
  for (let row = 0; row <= slice.height; row += 1) {
    for (let column = 0; column <= slice.width; column += 1) {
      const here = inside(row, column);
      if (here !== inside(row - 1, column)) line(row, column, 0, 1);
      if (here !== inside(row, column - 1)) line(row, column, 1, 0);
    }
  }
  pen.lineCap = "round";
  stroke(pen, path, OUTLINE, 1.5);
}

// A light line with a dark rim is visible on every grey.
function stroke(pen, path, color, width) {
  pen.strokeStyle = "rgb(0 0 0 / 70%)";
  pen.lineWidth = width + 2;
  pen.stroke(path);
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.stroke(path);
}

function drawCross(pen, view, { corner, step }) {
  const { clientWidth, clientHeight } = view.canvas;
  const x = corner[0] + (state.position[view.right] + 0.5) * step[0];
  const y = corner[1] + (state.position[view.down] + 0.5) * step[1];
  const gap = 14;
  pen.strokeStyle = "rgb(255 255 255 / 45%)";
  pen.lineWidth = 1;
  pen.beginPath();
  for (const [x0, y0, x1, y1] of [
    [0, y, x - gap, y], [x + gap, y, clientWidth, y], [x, 0, x, y - gap], [x, y + gap, x, clientHeight],
  ]) {
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
  }
  pen.stroke();
}

function label(pen, text, x, y, align, baseline, color = "#fff", size = 13) {
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textAlign = align;
  pen.textBaseline = baseline;
  pen.lineJoin = "round";
  pen.lineWidth = 3;
  pen.strokeStyle = "rgb(0 0 0 / 80%)";
  pen.strokeText(text, x, y);
  pen.fillStyle = color;
  pen.fillText(text, x, y);
}

function drawLetters(pen, { canvas, letters }) {
  const { clientWidth: width, clientHeight: height } = canvas;
  label(pen, letters.top, width / 2, 6, "center", "top");
  label(pen, letters.bottom, width / 2, height - 5, "center", "bottom");
  label(pen, letters.left, 7, height / 2, "left", "middle");
  label(pen, letters.right, width - 7, height / 2, "right", "middle");
}

function drawScale(pen, { canvas }, { perMm }) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const length = [50, 20, 10, 5, 2, 1].find((mm) => mm * perMm <= width * 0.3) ?? 1;
  const path = new Path2D();
  path.moveTo(width - 10 - length * perMm, height - 10);
  path.lineTo(width - 10, height - 10);
  pen.lineCap = "round";
  stroke(pen, path, "#fff", 3);
  label(pen, `${length} mm`, width - 10, height - 14, "right", "bottom");
}

function drawBar() {
  find(".heat").hidden = content.lesions.every((lesion) => lesion.heat === null);
  const pen = find("#bar").getContext("2d");
  content.colors.forEach((color, level) => {
    pen.fillStyle = `rgb(${color})`;
    pen.fillRect(level, 0, 1, 1);
  });
  const top = String(Number(heatTop.toPrecision(2)));
  find("#top").textContent = top;
  find("#bar").setAttribute("aria-label", `Colours of the heat map, from 0 to ${top} logits`);
}

function showReadout() {
  const { arrays, lesion, position } = state;
  const at = (shape, [i, j, k]) => (i * shape[1] + j) * shape[2] + k;
  const hu = content.levels[arrays.codes[at(lesion.shape, position)]];
  const parts = [hu >= 240 ? "240 HU or more" : hu <= -1024 ? "−1024 HU or less" : `${hu} HU`.replace("-", "−")];
  if (arrays.heat) {
    const coarse = position.map((p) => Math.floor(p / content.heatStep));
    const heat = arrays.heat[at(arrays.heatShape, coarse)] * lesion.heat / 255;
    parts.push(`heat ${heat.toFixed(2)} logits`);
  }
  find("#readout").textContent = `At the crosshair: ${parts.join(", ")}`;
}
