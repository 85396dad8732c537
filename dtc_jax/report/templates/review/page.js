// The actions of the controls and the keys.
const say = (text) => { find("#message").textContent = text; };
const byName = (name) => views.find((view) => view.name === name);

function setting(name, value) {
  state[name] = value;
  find("#views").dataset.main = state.main;
  for (const kind of ["view", "window"]) {
    for (const button of document.querySelectorAll(`[data-${kind}]`)) {
      const on = button.dataset[kind] === state[kind === "view" ? "main" : kind];
      button.setAttribute("aria-pressed", String(on));
    }
  }
  for (const kind of ["outline", "cross", "heat"]) {
    find(`#${kind}`).setAttribute("aria-pressed", String(state[kind]));
  }
  find("#zoom").textContent = `Zoom ${state.zoom}×`;
  find("#opacity").value = Math.round(state.opacity * 100);
  redraw();
}

const toggle = (name) => setting(name, !state[name]);
const zoom = () => setting("zoom", ZOOMS[(ZOOMS.indexOf(state.zoom) + 1) % ZOOMS.length]);
const fade = (by) => setting("opacity", Math.min(1, Math.max(0, state.opacity + by)));

function decide(verdict) {
  const { id } = state.lesion;
  store.change(id, { verdict: store.of(id).verdict === verdict ? "" : verdict });
  showState();
}

function download() {
  refresh(); // another tab may have decided more
  if (Object.keys(store.decisions).length && !store.reviewer.trim()) {
    say("Enter your name as reviewer, then download.");
    find("#reviewer").focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([writeTable(store.rows())], { type: "text/csv" }));
  link.download = content.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  store.downloaded();
  showState();
  say(`Downloaded ${content.file}: ${store.reviewed} of ${content.lesions.length} lesions reviewed.`);
}

// Shows what has been decided in another tab.
function refresh() {
  store.merge();
  const put = (field, text) => { if (field.value !== text) field.value = text; }; // or the cursor moves
  put(find("#reviewer"), store.reviewer);
  put(find("#comment"), store.of(state.lesion.id).comment);
  showState();
}

async function open(file) {
  if (!file) return;
  if (store.unsaved && !confirm("Replace the decisions that have not been downloaded?")) return;
  try {
    store.replace(readTable(await file.arrayBuffer(), content.lesions));
    say(`Read ${file.name}: ${store.reviewed} of ${content.lesions.length} lesions reviewed.`);
  } catch (error) {
    say(`${file.name} cannot be used: ${error.message}`);
  }
  sortLesions();
  showLesion(state.lesion);
  showState();
}

function focused() {
  return views.find((view) => view.slider === document.activeElement) ?? byName(state.main) ?? views[0];
}

const KEYS = {
  n: () => step(1), p: () => step(-1),
  a: () => decide("accept"), r: () => decide("reject"), u: () => decide(store.of(state.lesion.id).verdict),
  c: () => find("#comment").focus(), d: download,
  1: () => setting("main", "axial"), 2: () => setting("main", "coronal"), 3: () => setting("main", "sagittal"),
  4: () => { if (content.overview.length) setting("main", "overview"); },
  l: () => setting("window", "lung"), s: () => setting("window", "soft"),
  o: () => toggle("outline"), x: () => toggle("cross"), z: zoom, h: () => toggle("heat"),
  "-": () => fade(-0.1), "+": () => fade(0.1), "=": () => fade(0.1), "?": () => find("#help").showModal(),
};
const MOVES = {
  ArrowUp: () => scroll(focused(), -1), ArrowDown: () => scroll(focused(), 1),
  PageUp: () => scroll(focused(), -5), PageDown: () => scroll(focused(), 5),
  Home: () => moveTo([...state.lesion.start]),
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
  store.sort = find("#sort").value;
  store.keepView();
  sortLesions();
  showLesion(state.lesion);
  showState();
});
find("#previous").addEventListener("click", () => step(-1));
find("#next").addEventListener("click", () => step(1));
find("#comment").addEventListener("input", (event) => {
  store.change(state.lesion.id, { comment: event.target.value });
  showState();
});
find("#reviewer").addEventListener("input", (event) => store.rename(event.target.value));
find("#download").addEventListener("click", download);
find("#continue").addEventListener("click", () => find("#file").click());
find("#file").addEventListener("change", async (event) => {
  await open(event.target.files[0]);
  event.target.value = "";
});
find("#ask").addEventListener("click", () => find("#help").showModal());
addEventListener("storage", (event) => { if (event.key === store.key) refresh(); });
addEventListener("beforeunload", (event) => { if (store.unsaved) event.preventDefault(); });

const watch = new ResizeObserver(redraw);
for (const canvas of document.querySelectorAll(".view canvas")) watch.observe(canvas);

store.load();
if (folded.length === content.lesions.length) store.unfolded = true; // or the list is empty
find("#sort").value = store.sort;
if (find("#sort").selectedIndex < 0) find("#sort").selectedIndex = 0;
find("#reviewer").value = store.reviewer;
find("#kept").textContent = store.keeps
  ? "This browser remembers your decisions, but only the downloaded CSV is safe."
  : "This browser does not remember your decisions: download the CSV before you leave.";
say("Press ? for help and keyboard shortcuts.");
drawBar();
setting("main", "axial");
sortLesions();
choose(order[0]);
