// The titles in the figures become one box that follows the pointer, on touch screens too.
// Without scripts the browser shows the titles itself.
(() => {
  const box = document.getElementById("tip");
  for (const title of document.querySelectorAll("svg .tip > title")) {
    title.parentNode.dataset.tip = title.textContent;
    title.parentNode.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  const show = (event) => {
    const part = event.target.closest ? event.target.closest("[data-tip]") : null;
    box.hidden = !part;
    if (!part) return;
    box.textContent = part.dataset.tip;
    const { width, height } = box.getBoundingClientRect();
    const left = Math.min(event.clientX + 12, document.documentElement.clientWidth - width - 6);
    const above = event.clientY - height - 12;
    box.style.left = `${Math.max(6, left)}px`;
    box.style.top = `${above > 6 ? above : event.clientY + 16}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", () => { box.hidden = true; }, { passive: true });
})();
