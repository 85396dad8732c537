// The decisions of the reader. They survive closing the tab if the browser allows local storage.
const content = JSON.parse(document.getElementById("content").textContent);
const store = {
  key: `dtc-jax-review-${content.key}`,
  decisions: {}, // {lesion id: {verdict, comment, reviewer}}, and label if the CSV that was read has it
  reviewer: "",
  unsaved: false, // changed since the last download
  sort: "weight",
  unfolded: false, // the findings below the threshold are listed
  keeps: true,

  load() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) ?? "{}");
      Object.assign(this.decisions, kept.decisions);
      this.reviewer = kept.reviewer ?? "";
      this.unsaved = kept.unsaved ?? false;
      this.sort = kept.sort ?? this.sort;
      this.unfolded = kept.unfolded ?? this.unfolded;
      this.keep();
    } catch {
      this.keeps = false;
    }
  },

  keep() {
    const { decisions, reviewer, unsaved, sort, unfolded } = this;
    try {
      localStorage.setItem(this.key, JSON.stringify({ decisions, reviewer, unsaved, sort, unfolded }));
    } catch {
      this.keeps = false;
    }
  },

  of(id) {
    return this.decisions[id] ?? { verdict: "", comment: "", reviewer: "" };
  },

  // The reviewer of a decision is whoever changed it last.
  change(id, part) {
    this.decisions[id] = { ...this.of(id), ...part, reviewer: this.reviewer.trim() };
    this.unsaved = true;
    this.keep();
  },

  // A CSV replaces all decisions so far.
  replace(decisions) {
    this.decisions = decisions;
    this.unsaved = false;
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
