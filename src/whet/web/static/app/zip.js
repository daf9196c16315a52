// Several files as one ZIP. They are stored as they are: pictures and videos are compressed already.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const UTF8 = 0x800; // names are in UTF-8
const [LOCAL, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50];

/** What fits into one ZIP without its 64-bit extension, which not every program reads. */
export const MOST_BYTES = 2 ** 32 - 2 ** 20;
export const MOST_FILES = 2 ** 16 - 2;

/** CRC-32 of a blob, as ZIP and PNG have it. */
async function checksum(blob) {
  let crc = 0xffffffff;
  for (const reader = blob.stream().getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return (crc ^ 0xffffffff) >>> 0;
    for (let i = 0; i < value.length; i++) crc = TABLE[(crc ^ value[i]) & 255] ^ (crc >>> 8);
  }
}

/** Fields of 2 or 4 bytes, the low one first. */
function record(...fields) {
  const bytes = new Uint8Array(fields.reduce((sum, [size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return bytes;
}

export class Zip {
  bytes = 0;
  files = 0;
  #parts = [];
  #directory = [];
  #names = new Set();

  /** Whether a file still fits. */
  takes(blob) {
    return this.bytes + blob.size < MOST_BYTES && this.files < MOST_FILES;
  }

  /** Add a file under a path; a second one of that name gets a number. */
  async add(path, blob) {
    const name = new TextEncoder().encode(this.#unlike(path));
    const now = new Date();
    const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
    const day = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
    // Version, flags, method, time, date, checksum, both sizes, length of the name and of extras.
    const crc = await checksum(blob);
    const facts = [[2, 20], [2, UTF8], [2, 0], [2, time], [2, day], [4, crc], [4, blob.size], [4, blob.size], [2, name.length], [2, 0]];
    this.#directory.push(record([4, CENTRAL], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, this.bytes]), name);
    const head = record([4, LOCAL], ...facts);
    this.#parts.push(head, name, blob);
    this.bytes += head.length + name.length + blob.size;
    this.files++;
  }

  #unlike(path) {
    const [, stem, ending] = /^(.*?)(\.[^./]*)?$/s.exec(path);
    let name = path;
    // As file systems compare names that keep no case.
    for (let n = 2; this.#names.has(name.toLowerCase()); n++) name = `${stem} (${n})${ending ?? ""}`;
    this.#names.add(name.toLowerCase());
    return name;
  }

  blob() {
    const length = this.#directory.reduce((sum, part) => sum + part.length, 0);
    const end = record([4, END], [2, 0], [2, 0], [2, this.files], [2, this.files], [4, length], [4, this.bytes], [2, 0]);
    return new Blob([...this.#parts, ...this.#directory, end], { type: "application/zip" });
  }
}
