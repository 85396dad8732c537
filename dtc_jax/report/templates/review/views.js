// The state of the three views, and the pointer events that move through them.
// The axes of the arrays point to inferior, posterior, left: each view is a plain slice.
const PLANES = {
  axial: { across: 0, down: 1, right: 2, letters: { top: "A", bottom: "P", left: "R", right: "L" } },
  coronal: { across: 1, down: 0, right: 2, letters: { top: "S", bottom: "I", left: "R", right: "L" } },
  sagittal: { across: 2, down: 0, right: 1, letters: { top: "S", bottom: "I", left: "A", right: "P" } },
};
const WINDOWS = { lung: { center: -600, width: 1500 }, soft: { center: 40, width: 400 } };
const ZOOMS = [1, 2, 3];
const state = {
  lesion: null, arrays: null, position: [0, 0, 0],
  main: "axial", window: "lung", outline: true, cross: true, heat: true, opacity: 0.4, zoom: 1,
};
const views = Object.entries(PLANES).map(([name, plane]) => {
  const figure = document.getElementById(name);
  return {
    name, ...plane, figure,
    canvas: figure.querySelector("canvas"),
    slider: figure.querySelector("input"),
    output: figure.querySelector("output"),
  };
});

function moveTo(position) {
  state.position = position.map((at, axis) => Math.min(Math.max(at, 0), state.lesion.shape[axis] - 1));
  redraw();
}

function scroll(view, slices) {
  if (!state.arrays) return;
  const position = [...state.position];
  position[view.across] += slices;
  moveTo(position);
}

// The position of the slice on the canvas: its corner and the size of a voxel, in CSS pixels.
function placed(view) {
  const { shape, spacing } = state.lesion;
  const { clientWidth: width, clientHeight: height } = view.canvas;
  const size = [shape[view.right] * spacing[view.right], shape[view.down] * spacing[view.down]];
  const perMm = Math.min(width / size[0], height / size[1]) * state.zoom;
  const step = [spacing[view.right] * perMm, spacing[view.down] * perMm];
  const at = [state.position[view.right], state.position[view.down]];
  const corner = [width, height].map((room, i) => {
    const extent = size[i] * perMm;
    if (extent <= room) return (room - extent) / 2;
    return Math.min(0, Math.max(room - extent, room / 2 - (at[i] + 0.5) * step[i]));
  });
  return { corner, step, perMm };
}

function point(view, event) {
  const box = view.canvas.getBoundingClientRect();
  const { corner, step } = placed(view);
  const position = [...state.position];
  position[view.right] = Math.floor((event.clientX - box.left - corner[0]) / step[0]);
  position[view.down] = Math.floor((event.clientY - box.top - corner[1]) / step[1]);
  moveTo(position);
}

for (const view of views) {
  let wheel = 0; // a touchpad sends many small steps, a mouse one large step per slice
  view.canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const moved = event.deltaMode ? event.deltaY * 40 : event.deltaY;
    wheel += moved;
    const slices = Math.trunc(wheel / 40);
    wheel -= slices * 40;
    if (slices) scroll(view, Math.abs(moved) >= 100 ? Math.sign(slices) : slices);
  }, { passive: false });

  let touch = null; // {y: of the last slice change, moved}
  view.canvas.addEventListener("pointerdown", (event) => {
    if (!state.arrays) return;
    view.canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "touch") touch = { y: event.clientY, moved: false };
    else if (event.button === 0) point(view, event);
  });
  view.canvas.addEventListener("pointermove", (event) => {
    if (!state.arrays || !view.canvas.hasPointerCapture(event.pointerId)) return;
    if (event.pointerType !== "touch") {
      if (event.buttons & 1) point(view, event);
      return;
    }
    const slices = Math.trunc((event.clientY - touch.y) / 7);
    if (!slices) return;
    touch = { y: touch.y + slices * 7, moved: true };
    scroll(view, slices);
  });
  view.canvas.addEventListener("pointerup", (event) => {
    if (state.arrays && event.pointerType === "touch" && !touch?.moved) point(view, event);
  });
  view.slider.addEventListener("input", () => {
    scroll(view, view.slider.value - 1 - state.position[view.across]);
  });
}
