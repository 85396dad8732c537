// The decisions of the reader. They survive closing the tab if the browser allows local storage, which
// all tabs of this page share: of each lesion the latest decision counts, whichever tab it was made in.
const content = JSON.parse(document.getElementById("content").textContent);
// Pasted text may have control characters, which make a CSV unreadable; line ends and tabs do not.
const printable = (text) => text.replace(/[^\P{Cc}\n\r\t]/gu, "");
const store = {
  key: `dtc-jax-review-${content.key}`,
  decisions: {}, // {lesion id: {verdict, comment, reviewer, at}}, and label if the CSV that was read has it
  reviewer: "",
  named: 0, // when the reviewer's name was entered
  saved: -1, // when the decisions were last in a CSV
  sort: "weight",
  unfolded: false, // the findings below the threshold are listed
  keeps: true,

  load() {
    this.merge();
    const view = this.read(this.viewKey);
    this.sort = view.sort ?? this.sort;
    this.unfolded = view.unfolded ?? this.unfolded;
    this.keep();
  },

  get viewKey() {
    return `${this.key}-view`;
  },

  read(key) {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "{}");
    } catch {
      this.keeps = false;
      return {};
    }
  },

  write(key, state) {
    try {
      localStorage.setItem(key, JSON.stringify(state));
    } catch {
      this.keeps = false;
    }
  },

  // Takes over what another tab has kept since.
  merge() {
    const kept = this.read(this.key);
    for (const [id, decision] of Object.entries(kept.decisions ?? {})) {
      if ((decision.at ?? 0) >= (this.decisions[id]?.at ?? 0)) this.decisions[id] = decision;
    }
    if ((kept.named ?? 0) >= this.named) {
      this.reviewer = kept.reviewer ?? "";
      this.named = kept.named ?? 0;
    }
    this.saved = Math.max(this.saved, kept.saved ?? -1);
  },

  keep() {
    const { decisions, reviewer, named, saved } = this;
    this.write(this.key, { decisions, reviewer, named, saved });
  },

  keepView() {
    const { sort, unfolded } = this;
    this.write(this.viewKey, { sort, unfolded });
  },

  // In milliseconds, and later than all that has happened, even if the clock was put back.
  now() {
    const times = Object.values(this.decisions).map(({ at = 0 }) => at);
    return Math.max(Date.now(), 1 + Math.max(this.saved, this.named, ...times));
  },

  of(id) {
    return this.decisions[id] ?? { verdict: "", comment: "", reviewer: "" };
  },

  // Changed since the last download.
  get unsaved() {
    return Object.values(this.decisions).some(({ at = 0 }) => at > this.saved);
  },

  // The reviewer of a decision is whoever changed it last.
  change(id, part) {
    this.merge();
    const decision = { ...this.of(id), ...part, reviewer: this.reviewer.trim(), at: this.now() };
    this.decisions[id] = { ...decision, comment: printable(decision.comment) };
    this.keep();
  },

  rename(reviewer) {
    this.merge();
    Object.assign(this, { reviewer: printable(reviewer), named: this.now() });
    this.keep();
  },

  // A CSV replaces all decisions so far.
  replace(decisions) {
    this.merge();
    this.saved = this.now();
    for (const [id, decision] of Object.entries(decisions)) {
      this.decisions[id] = { ...decision, at: this.saved };
    }
    this.keep();
  },

  downloaded() {
    this.saved = this.now();
    this.keep();
  },

  isOpen(id) {
    return !this.of(id).verdict;
  },

  get reviewed() {
    return content.lesions.filter((lesion) => !this.isOpen(lesion.id)).length;
  },

  rows() {
    const labelled = Object.values(this.decisions).some((decision) => "label" in decision);
    return content.lesions.map((lesion) => {
      const { verdict, comment, reviewer, label = "" } = this.of(lesion.id);
      const answered = verdict || comment || label;
      return {
        lesion_id: lesion.id,
        verdict,
        comment,
        reviewer: answered ? reviewer || this.reviewer.trim() : "",
        ...(labelled ? { label } : {}),
        refractory_probability: lesion.probability ?? "",
        decision: lesion.decision,
        diameter_mm: lesion.diameter ?? "",
        notice: content.notice,
      };
    });
  },
};
