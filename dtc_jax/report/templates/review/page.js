// What the controls and the keys do.
const say = (text) => { find("#message").textContent = text; };
const byName = (name) => views.find((view) => view.name === name);

function setting(name, value) {
  shown[name] = value;
  find("#views").dataset.main = shown.main;
  for (const kind of ["view", "window"]) {
    for (const button of document.querySelectorAll(`[data-${kind}]`)) {
      const on = button.dataset[kind] === shown[kind === "view" ? "main" : kind];
      button.setAttribute("aria-pressed", String(on));
    }
  }
  for (const kind of ["outline", "cross", "heat"]) {
    find(`#${kind}`).setAttribute("aria-pressed", String(shown[kind]));
  }
  find("#zoom").textContent = `Zoom ${shown.zoom}×`;
  find("#opacity").value = Math.round(shown.opacity * 100);
  redraw();
}

const toggle = (name) => setting(name, !shown[name]);
const zoom = () => setting("zoom", ZOOMS[(ZOOMS.indexOf(shown.zoom) + 1) % ZOOMS.length]);
const fade = (by) => setting("opacity", Math.min(1, Math.max(0, shown.opacity + by)));

function decide(verdict) {
  const { id } = shown.lesion;
  store.change(id, { verdict: store.of(id).verdict === verdict ? "" : verdict });
  showState();
}

function download() {
  if (Object.keys(store.decisions).length && !store.reviewer.trim()) {
    say("Who reviews? Write your name, then download.");
    find("#reviewer").focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([writeTable(store.rows())], { type: "text/csv" }));
  link.download = content.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  store.unsaved = false;
  store.keep();
  showState();
  say(`${content.file} was downloaded, ${store.reviewed} of ${content.lesions.length} lesions reviewed.`);
}

async function open(file) {
  if (!file) return;
  if (store.unsaved && !confirm("Replace what is not downloaded yet?")) return;
  try {
    store.replace(readTable(await file.arrayBuffer(), content.lesions));
    say(`${file.name} was read, ${store.reviewed} of ${content.lesions.length} lesions reviewed.`);
  } catch (error) {
    say(`${file.name} was not read: ${error.message}`);
  }
  sortLesions();
  showLesion(shown.lesion);
  showState();
}

function focused() {
  return views.find((view) => view.slider === document.activeElement) ?? byName(shown.main);
}

const KEYS = {
  n: () => step(1), p: () => step(-1),
  a: () => decide("accept"), r: () => decide("reject"), u: () => decide(store.of(shown.lesion.id).verdict),
  c: () => find("#comment").focus(), d: download,
  1: () => setting("main", "axial"), 2: () => setting("main", "coronal"), 3: () => setting("main", "sagittal"),
  l: () => setting("window", "lung"), s: () => setting("window", "soft"),
  o: () => toggle("outline"), x: () => toggle("cross"), z: zoom, h: () => toggle("heat"),
  "-": () => fade(-0.1), "+": () => fade(0.1), "=": () => fade(0.1), "?": () => find("#help").showModal(),
};
const MOVES = {
  ArrowUp: () => scroll(focused(), -1), ArrowDown: () => scroll(focused(), 1),
  PageUp: () => scroll(focused(), -5), PageDown: () => scroll(focused(), 5),
  Home: () => moveTo([...shown.lesion.start]),
};

document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.key === "Escape" && target.matches("textarea, input")) target.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || find("#help").open) return;
  if (target.matches("textarea, select, input:not([type=range])")) return;
  const act = MOVES[event.key] ?? (find("#keys").checked ? KEYS[event.key.toLowerCase()] : undefined);
  if (!act || (event.key.startsWith("Arrow") && target.id === "opacity")) return;
  event.preventDefault();
  act();
});

for (const button of document.querySelectorAll("[data-view]")) {
  button.addEventListener("click", () => setting("main", button.dataset.view));
}
for (const button of document.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => setting("window", button.dataset.window));
}
for (const button of document.querySelectorAll("[data-verdict]")) {
  button.addEventListener("click", () => decide(button.dataset.verdict));
}
for (const name of ["outline", "cross", "heat"]) find(`#${name}`).addEventListener("click", () => toggle(name));
find("#zoom").addEventListener("click", zoom);
find("#opacity").addEventListener("input", (event) => setting("opacity", event.target.value / 100));
find("#sort").addEventListener("change", () => {
  sortLesions();
  showLesion(shown.lesion);
  showState();
});
find("#previous").addEventListener("click", () => step(-1));
find("#next").addEventListener("click", () => step(1));
find("#comment").addEventListener("input", (event) => {
  store.change(shown.lesion.id, { comment: event.target.value });
  showState();
});
find("#reviewer").addEventListener("input", (event) => {
  store.reviewer = event.target.value;
  store.keep();
});
find("#download").addEventListener("click", download);
find("#continue").addEventListener("click", () => find("#file").click());
find("#file").addEventListener("change", async (event) => {
  await open(event.target.files[0]);
  event.target.value = "";
});
find("#ask").addEventListener("click", () => find("#help").showModal());
addEventListener("beforeunload", (event) => { if (store.unsaved) event.preventDefault(); });

const watch = new ResizeObserver(redraw);
for (const view of views) watch.observe(view.canvas);

store.load();
find("#reviewer").value = store.reviewer;
find("#kept").textContent = store.keeps
  ? "What you decide is kept in this browser until you come back, but only the CSV is safe."
  : "This browser keeps nothing of this page: download the CSV before you leave.";
say("Press ? for help and the keys.");
drawBar();
setting("main", "axial");
sortLesions();
choose(order[0]);
