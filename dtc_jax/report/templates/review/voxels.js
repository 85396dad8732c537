// The arrays of a lesion, unpacked on first use; see report/review/voxels.py.
const KEPT = 12; // lesions, of about 0.3 MB each
const unpacked = new Map();

function voxels(lesion) {
  const cached = unpacked.get(lesion.id);
  if (cached) return cached;
  const arrays = unpack(lesion);
  unpacked.set(lesion.id, arrays);
  if (unpacked.size > KEPT) unpacked.delete(unpacked.keys().next().value);
  return arrays;
}

async function unpack(lesion) {
  const bytes = await inflate(await block(lesion.id));
  const count = lesion.shape.reduce((product, n) => product * n);
  const maskBytes = Math.ceil(count / 8);
  const heatShape = lesion.shape.map((n) => Math.ceil(n / content.heatStep));
  return {
    codes: summed(bytes.subarray(0, count), lesion.shape[2]),
    mask: bytes.subarray(count, count + maskBytes),
    heat: lesion.heat === null ? null : summed(bytes.subarray(count + maskBytes), heatShape[2]),
    heatShape,
  };
}

// The text of a lesion's block, once the browser has parsed it.
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

// From differences modulo 256, along rows of a width and across them, to values, in place.
function summed(codes, width) {
  for (let i = 1; i < codes.length; i += 1) if (i % width) codes[i] += codes[i - 1];
  for (let i = width; i < codes.length; i += 1) codes[i] += codes[i - width];
  return codes;
}

const inMask = (mask, index) => (mask[index >> 3] >> (7 - (index & 7))) & 1;
