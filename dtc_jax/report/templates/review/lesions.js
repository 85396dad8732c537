// The list of the lesions, and the panel of the chosen one.
const find = (selector) => document.querySelector(selector);
const SIGNS = { accept: "✓ accepted", reject: "✗ rejected", "": "not reviewed" };
const digits = (value, count) => (value === null ? "n/a" : value.toFixed(count));
let order = [];

function sortLesions() {
  const by = find("#sort").value;
  const value = (lesion) => ({
    id: -lesion.id, open: Number(store.isOpen(lesion.id)),
    probability: lesion.probability ?? -1, size: lesion.diameter ?? -1,
  })[by];
  order = [...content.lesions].sort((a, b) => value(b) - value(a) || a.id - b.id);
  find("#lesions").replaceChildren(...order.map(item));
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
  part("size", lesion.diameter === null ? "" : `${lesion.diameter.toFixed(1)} mm`);
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
  button.querySelector(".sign").textContent = SIGNS[verdict] + (comment ? ", comment" : "");
  if (state.lesion?.id === id) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

function showState() {
  document.querySelectorAll("#lesions button").forEach(mark);
  find("#progress").textContent = `${store.reviewed} of ${content.lesions.length} reviewed`;
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
  find("#answer .decision").textContent = classified ? `Classified as ${lesion.decision}` : "Not classified";
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
    say(`Lesion ${lesion.id} cannot be state: this browser cannot unpack it (${error.message}).`);
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
