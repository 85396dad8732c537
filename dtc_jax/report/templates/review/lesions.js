// The list of the lesions, and the panel of the chosen one.
const find = (selector) => document.querySelector(selector);
const SIGNS = { accept: "✓ accepted", reject: "✗ rejected", "": "open" };
const digits = (value, count) => (value === null ? "n/a" : value.toFixed(count));
// Of a lesion nobody knows the certainty of, a person has drawn: it is certain.
const weight = (lesion) => (lesion.certainty ?? 1) * (lesion.diameter ?? 0);
const folded = content.lesions.filter((lesion) => lesion.folded);
let order = []; // the lesions of the list

function sortLesions() {
  const by = find("#sort").value;
  const value = (lesion) => {
    if (by === "weight") return weight(lesion);
    if (by === "open") return Number(store.isOpen(lesion.id));
    return ["id", "slice"].includes(by) ? -(lesion[by] ?? Infinity) : lesion[by] ?? -1;
  };
  const sorted = [...content.lesions].sort((a, b) => value(b) - value(a) || a.id - b.id);
  const [shown, rest] = [false, true].map((kind) => sorted.filter((lesion) => lesion.folded === kind));
  order = store.unfolded ? [...shown, ...rest] : shown;
  find("#lesions").replaceChildren(
    ...shown.map(item), ...(rest.length ? [fold(rest.length)] : []), ...(store.unfolded ? rest.map(item) : []));
}

// The line above the findings that are probably no lesions; it opens and closes them.
function fold(count) {
  const button = document.createElement("button");
  button.id = "fold";
  button.textContent = `${count} finding${count > 1 ? "s" : ""} below the threshold`;
  button.title = "Probably no lesions; open to review them";
  button.setAttribute("aria-expanded", String(store.unfolded));
  button.addEventListener("click", () => {
    store.unfolded = !store.unfolded;
    store.keepView();
    sortLesions();
    if (order.length && !order.includes(state.lesion)) choose(order[0]);
    else showLesion(state.lesion);
    showState();
    find("#fold").focus();
  });
  const line = document.createElement("li");
  line.append(button);
  return line;
}

function item(lesion) {
  const button = document.createElement("button");
  const part = (className, text) => {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = text;
    button.append(span);
  };
  part("number", `${lesion.id}`);
  part("probability", `${digits(lesion.probability, 2)} ${lesion.decision}`);
  const axes = [lesion.diameter, lesion.short].filter((axis) => axis !== null);
  const places = axes[0] < 10 ? 1 : 0;
  part("size", axes.length ? `${axes.map((axis) => axis.toFixed(places)).join(" × ")} mm` : "");
  part("where", [lesion.side, lesion.slice === null ? "" : `slice ${lesion.slice}`].filter(Boolean).join(", "));
  part("sign", "");
  button.dataset.lesion = lesion.id;
  button.addEventListener("click", () => choose(lesion));
  const line = document.createElement("li");
  line.append(button);
  mark(button);
  return line;
}

// The parts of a list item that change: the verdict, and whether it is the chosen one.
function mark(button) {
  const id = Number(button.dataset.lesion);
  const { verdict, comment } = store.of(id);
  button.dataset.state = verdict;
  button.querySelector(".sign").textContent = SIGNS[verdict] + (comment ? " ✎" : "");
  if (state.lesion?.id === id) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

function showState() {
  document.querySelectorAll("#lesions [data-lesion]").forEach(mark);
  const reviewed = order.filter((lesion) => !store.isOpen(lesion.id)).length;
  find("#progress").textContent = `${reviewed} of ${order.length} reviewed`;
  drawOverview();
  find("#download").classList.toggle("unsaved", store.unsaved);
  if (!state.lesion) return;
  const { verdict } = store.of(state.lesion.id);
  for (const button of document.querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
  }
}

function showLesion(lesion) {
  const place = order.indexOf(lesion) + 1;
  find("#name").textContent = `Lesion ${lesion.id}`;
  find("#place").textContent = `${place} of ${order.length} in the list`;
  find("#previous").disabled = place === 1;
  find("#next").disabled = place === order.length;
  const classified = lesion.probability !== null;
  const answer = classified ? `Classified as ${lesion.decision}` : "Not classified";
  find("#answer .decision").textContent = lesion.folded ? `Probably no lesion. ${answer}` : answer;
  const side = lesion.probability >= lesion.threshold ? "at or above" : "below";
  find("#answer .how").textContent = classified
    ? `Probability ${digits(lesion.probability, 3)}, ${side} the threshold ${digits(lesion.threshold, 3)}`
    : "There is no probability.";
  find("#answer .scale").hidden = !classified;
  find("#answer .value").style.width = `${100 * lesion.probability}%`;
  find("#answer .threshold").style.left = `${100 * lesion.threshold}%`;
  find("#facts").replaceChildren(...lesion.facts.map(([name, text]) => {
    const line = document.createElement("div");
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    term.textContent = name;
    value.textContent = text;
    line.append(term, value);
    return line;
  }));
  find("#comment").value = store.of(lesion.id).comment;
  find("#heat").disabled = find("#opacity").disabled = lesion.heat === null;
}

async function choose(lesion) {
  state.lesion = lesion;
  state.arrays = null;
  state.position = [...lesion.start];
  find("#views").setAttribute("aria-busy", "true");
  find("#readout").textContent = "";
  showLesion(lesion);
  showState();
  find("#lesions [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  let arrays;
  try {
    arrays = await voxels(lesion);
  } catch (error) {
    say(`Lesion ${lesion.id} cannot be shown: this browser cannot unpack it (${error.message}).`);
    return;
  }
  if (state.lesion !== lesion) return; // another lesion was chosen meanwhile
  state.arrays = arrays;
  find("#views").setAttribute("aria-busy", "false");
  redraw();
  const place = order.indexOf(lesion);
  for (const near of [order[place + 1], order[place - 1]]) if (near) voxels(near).catch(() => {});
}

function step(by) {
  const place = order.indexOf(state.lesion) + by;
  if (place >= 0 && place < order.length) choose(order[place]);
}
