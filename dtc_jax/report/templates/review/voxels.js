// The arrays of a lesion, unpacked when they are first asked for; see report/review/voxels.py.
const KEPT = 12; // lesions, of about 0.3 MB each
const unpacked = new Map();

function voxels(lesion) {
  const known = unpacked.get(lesion.id);
  if (known) return known;
  const made = unpack(lesion);
  unpacked.set(lesion.id, made);
  if (unpacked.size > KEPT) unpacked.delete(unpacked.keys().next().value);
  return made;
}

async function unpack(lesion) {
  const bytes = await inflate(await block(lesion.id));
  const count = lesion.shape.reduce((product, n) => product * n);
  const maskBytes = Math.ceil(count / 8);
  const heatShape = lesion.shape.map((n) => Math.ceil(n / content.heatStep));
  return {
    codes: summed(bytes.subarray(0, count)),
    mask: bytes.subarray(count, count + maskBytes),
    heat: lesion.heat === null ? null : summed(bytes.subarray(count + maskBytes)),
    heatShape,
  };
}

// The text of a lesion's block, once the browser has read so far in the file.
async function block(id) {
  for (;;) {
    const element = document.getElementById(`voxels-${id}`);
    if (element?.nextElementSibling || (element && document.readyState !== "loading")) {
      return element.textContent;
    }
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
}

async function inflate(base64) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// From differences modulo 256 to values, in place.
function summed(codes) {
  for (let i = 1; i < codes.length; i += 1) codes[i] += codes[i - 1];
  return codes;
}

const inMask = (mask, index) => (mask[index >> 3] >> (7 - (index & 7))) & 1;
