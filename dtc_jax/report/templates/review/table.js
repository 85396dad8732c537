// Writes and reads the review as a CSV. A spreadsheet executes a cell that begins with = + - or @, so
// an apostrophe is written before such a beginning, also after any character that a spreadsheet may
// take for the end of a cell; reading removes it. dtc_jax/report/review/decisions.py does the same.
const COLUMNS = ["lesion_id", "verdict", "comment", "reviewer"];
const VERDICTS = ["accept", "reject", ""];
const START = "(^|[;,\\t\\r\\n\"])";
const FORMULA = "(?=[=+\\-@＝＋－＠])";
const guarded = (text) => text.replace(new RegExp(`${START}('* *)${FORMULA}`, "g"), "$1'$2");
const unguarded = (text) => text.replace(new RegExp(`${START}'('* *)${FORMULA}`, "g"), "$1$2");

function writeTable(rows) {
  const names = Object.keys(rows[0]);
  const cell = (value) => {
    const text = typeof value === "number" ? String(value) : guarded(value ?? "");
    return /[",;\t\r\n']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [names, ...rows.map((row) => names.map((name) => cell(row[name])))];
  // The byte order mark tells Excel that this is UTF-8.
  return "\ufeff" + lines.map((line) => line.join(",") + "\r\n").join("");
}

// The cells of a CSV, row by row. Throws an Error with a message for the reader.
function cells(text, mark) {
  const rows = [[]];
  const part = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${mark}\\r\\n]*))(${mark}|\\r?\\n|\\r|$)`, "y");
  while (part.lastIndex < text.length) {
    const match = part.exec(text);
    if (!match) throw new Error(`row ${rows.length}: check the quotation marks.`);
    rows.at(-1).push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    if (match[3] !== mark && part.lastIndex < text.length) rows.push([]);
  }
  return rows;
}

// From the bytes of a file to {lesion_id: {verdict, comment, reviewer}} of `lesions`.
function readTable(bytes, lesions) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("it is not UTF-8 text; save the file as “CSV UTF-8”.");
  }
  const first = text.split("\n", 1)[0];
  const mark = [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length)[0];
  const [head, ...rows] = cells(text, mark);
  const names = head.map((name) => name.trim().toLowerCase());
  for (const name of COLUMNS) {
    if (!names.includes(name)) throw new Error(`column ${name} is missing.`);
  }
  const byId = new Map(lesions.map((lesion) => [lesion.id, lesion]));
  const read = {};
  rows.forEach((row, index) => {
    if (!row.some((cell) => cell.trim())) return;
    const value = Object.fromEntries(names.map((name, column) => [name, row[column] ?? ""]));
    const where = `row ${index + 2}`;
    const lesion = byId.get(Number(value.lesion_id));
    const verdict = value.verdict.trim().toLowerCase();
    if (!value.lesion_id.trim() || !lesion) throw new Error(`${where}: there is no lesion “${value.lesion_id}” on this page.`);
    if (lesion.id in read) throw new Error(`${where}: lesion ${lesion.id} is listed twice.`);
    if (!VERDICTS.includes(verdict)) throw new Error(`${where}: “${value.verdict}” is not a verdict.`);
    const probability = parseFloat((value.refractory_probability ?? "").replace(",", "."));
    if (Math.abs(probability - lesion.probability) > 0.01) {
      throw new Error(`${where}: the probability differs; this is the review of another scan.`);
    }
    const plain = (name) => unguarded(value[name].replaceAll("\r\n", "\n"));
    read[lesion.id] = { verdict, comment: plain("comment"), reviewer: plain("reviewer") };
  });
  return read;
}
