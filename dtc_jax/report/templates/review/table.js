// Writes and reads the review as a CSV. A spreadsheet executes a cell that begins with = + - or @, so
// an apostrophe is written before such a beginning, also after any character that a spreadsheet may
// take for the end of a cell; reading removes it. dtc_jax/report/review/decisions.py does the same.
const COLUMNS = ["lesion_id", "verdict", "comment", "reviewer"];
const VERDICTS = ["accept", "reject", ""];
const DELIMITERS = { ",": "comma", ";": "semicolon", "\t": "tab", "|": "bar" };
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
  const sign = mark.replace(/\W/, "\\$&");
  const part = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${sign}\\r\\n]*))(${sign}|\\r?\\n|\\r|$)`, "y");
  let end = "";
  while (part.lastIndex < text.length || end === mark) {
    const match = part.exec(text);
    if (!match) throw new Error(`row ${rows.length}: check the quotation marks.`);
    rows.at(-1).push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    end = match[3];
    if (end !== mark && part.lastIndex < text.length) rows.push([]);
  }
  return rows;
}

// The text of a file without the line of its delimiter, and the delimiter, as in dtc_jax/csv_reader.py.
function decoded(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    text = "\0";
  }
  if (text.includes("\0")) throw new Error("it is not UTF-8 text; save the file as “CSV UTF-8”.");
  const line = /^"?sep=(.)"?[,;\t|]*\r?(?:\n|$)/i.exec(text);
  if (line) return [text.slice(line[0].length), line[1]];
  const first = text.trimStart().split(/[\r\n]/, 1)[0];
  const count = (mark) => first.split(mark).length;
  return [text, Object.keys(DELIMITERS).sort((a, b) => count(b) - count(a))[0]];
}

// The names of the columns in lower case; each is there once.
function columns(head) {
  const names = head.map((name) => name.trim().toLowerCase());
  const twice = names.find((name, place) => name && names.indexOf(name) < place);
  if (twice) throw new Error(`column ${twice} appears twice, in whatever case; delete one.`);
  for (const name of COLUMNS) {
    if (!names.includes(name)) throw new Error(`column ${name} is missing.`);
  }
  return names;
}

// Refuses a row with more or fewer cells than the header: the file may be truncated.
function checkLength(row, count, mark, where) {
  if (row.length >= count && !row.slice(count).some((cell) => cell.trim())) return;
  throw new Error(
    `${where}: has ${row.length} cell${row.length === 1 ? "" : "s"}, but the header has ${count}; check for a missing ` +
    `or an extra ${DELIMITERS[mark] ?? "delimiter"} (put text that contains one in quotes).`);
}

// From the bytes of a file to {lesion_id: {verdict, comment, reviewer}} of all `lesions`, each with
// its `label` if the reader has added this column.
function readTable(bytes, lesions) {
  const [text, mark] = decoded(bytes);
  const rows = cells(text, mark);
  const filled = (row) => row.some((cell) => cell.trim());
  const start = rows.findIndex(filled);
  if (start < 0) throw new Error("it is empty; it needs a header.");
  const names = columns(rows[start]);
  const byId = new Map(lesions.map((lesion) => [lesion.id, lesion]));
  const read = {};
  rows.forEach((row, index) => {
    if (index <= start || !filled(row)) return;
    const where = `row ${index + 1}`;
    checkLength(row, names.length, mark, where);
    const value = Object.fromEntries(names.map((name, column) => [name, row[column]]));
    const number = /^\s*([0-9]{1,9})(?:\.0+)?\s*$/.exec(value.lesion_id);
    const lesion = number && byId.get(Number(number[1]));
    const verdict = value.verdict.trim().toLowerCase();
    if (!lesion) throw new Error(`${where}: there is no lesion “${value.lesion_id}” on this page.`);
    if (lesion.id in read) throw new Error(`${where}: lesion ${lesion.id} is listed twice.`);
    if (!VERDICTS.includes(verdict)) throw new Error(`${where}: “${value.verdict}” is not a verdict.`);
    const probability = parseFloat((value.refractory_probability ?? "").replace(",", "."));
    if (Math.abs(probability - lesion.probability) > 0.01) {
      throw new Error(`${where}: the probability differs; this is the review of another scan.`);
    }
    const plain = (cell) => unguarded(cell.replaceAll("\r\n", "\n"));
    read[lesion.id] = { verdict, comment: plain(value.comment), reviewer: plain(value.reviewer.trim()) };
    if ("label" in value) read[lesion.id].label = plain(value.label.trim());
  });
  const missing = lesions.map((lesion) => lesion.id).filter((id) => !(id in read)).sort((a, b) => a - b);
  if (missing.length) {
    throw new Error(
      `no row for lesion${missing.length > 1 ? "s" : ""} ${missing.slice(0, 10).join(", ")}${missing.length > 10 ? ", ..." : ""}. A review needs a row ` +
      "for each lesion of the page; leave the verdict empty if there is none.");
  }
  return read;
}
