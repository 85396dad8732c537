// The review as a CSV, written and read. A spreadsheet runs a cell that begins with = + - or @, so an
// apostrophe goes before such a beginning, also after whatever some spreadsheet takes for the end of
// a cell; reading takes it away again. dtc_jax/report/review/decisions.py does the same.
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

// The cells of a CSV, row by row. Throws an Error that says what is wrong.
function cells(text, mark) {
  const rows = [[]];
  const part = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${mark}\\r\\n]*))(${mark}|\\r?\\n|\\r|$)`, "y");
  while (part.lastIndex < text.length) {
    const found = part.exec(text);
    if (!found) throw new Error(`row ${rows.length} has a stray quote.`);
    rows.at(-1).push(found[1] === undefined ? found[2] : found[1].replaceAll('""', '"'));
    if (found[3] !== mark && part.lastIndex < text.length) rows.push([]);
  }
  return rows;
}

// From the bytes of a file to {lesion_id: {verdict, comment, reviewer}}, for `lesions` alone.
function readTable(bytes, lesions) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("it is not UTF-8; save it as “CSV UTF-8” in the spreadsheet.");
  }
  const first = text.split("\n", 1)[0];
  const mark = [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length)[0];
  const [head, ...rows] = cells(text, mark);
  const names = head.map((name) => name.trim().toLowerCase());
  for (const name of COLUMNS) {
    if (!names.includes(name)) throw new Error(`column ${name} is missing.`);
  }
  const known = new Map(lesions.map((lesion) => [lesion.id, lesion]));
  const read = {};
  rows.forEach((row, index) => {
    if (!row.some((cell) => cell.trim())) return;
    const value = Object.fromEntries(names.map((name, column) => [name, row[column] ?? ""]));
    const where = `row ${index + 2}`;
    const lesion = known.get(Number(value.lesion_id));
    const verdict = value.verdict.trim().toLowerCase();
    if (!value.lesion_id.trim() || !lesion) throw new Error(`${where}: no lesion “${value.lesion_id}” is here.`);
    if (lesion.id in read) throw new Error(`${where}: lesion ${lesion.id} is there twice.`);
    if (!VERDICTS.includes(verdict)) throw new Error(`${where}: “${value.verdict}” is no verdict.`);
    const probability = parseFloat((value.refractory_probability ?? "").replace(",", "."));
    if (Math.abs(probability - lesion.probability) > 0.01) {
      throw new Error(`${where}: the probability is another one; it is the review of another scan.`);
    }
    const plain = (name) => unguarded(value[name].replaceAll("\r\n", "\n"));
    read[lesion.id] = { verdict, comment: plain("comment"), reviewer: plain("reviewer") };
  });
  return read;
}
