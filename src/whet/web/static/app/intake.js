// Ways into the page: chosen, dropped and pasted files, and whole folders with what is in them.

const ENDINGS =
  /\.(jpe?g|jfif|png|webp|tiff?|avif|hei[cf]|hif|bmp|gif|p[pgbn]m|jxl|jp2|mp4|m4v|mov|mkv|webm|m?ts|m2ts|avi|flv|og[gv]|wmv|mpe?g)$/i;

const usable = ({ name, type }) => !name.startsWith(".") && (/^(image|video)\//.test(type) || ENDINGS.test(name));

/** Return {files, skipped}: of folders only pictures and videos, in order; `file.path` says where they were. */
function sorted(chosen, inFolder) {
  const kept = chosen.filter((file) => !inFolder(file) || usable(file));
  const skipped = chosen.filter((file) => !kept.includes(file) && !file.name.startsWith(".")).length;
  const place = (file) => file.path ?? file.name;
  kept.sort((a, b) => (inFolder(a) && inFolder(b) ? place(a).localeCompare(place(b), undefined, { numeric: true }) : 0));
  return { files: kept, skipped };
}

/** Files of an <input>, whose folder may have been chosen. */
function ofInput(input) {
  const files = [...input.files];
  for (const file of files) if (file.webkitRelativePath) file.path = file.webkitRelativePath;
  input.value = "";
  return sorted(files, (file) => Boolean(file.path));
}

/** Files of a drop. What was dropped must be asked for at once; folders are then read in turn. */
async function ofDrop(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter(Boolean);
  const files = [];
  for (const entry of entries) await collect(entry, files);
  return sorted(files, (file) => Boolean(file.path));
}

async function collect(entry, files) {
  if (entry instanceof File) files.push(entry);
  else if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    // The path of a file that was dropped by itself is its name.
    if (entry.fullPath.lastIndexOf("/") > 0) file.path = entry.fullPath.slice(1);
    files.push(file);
  } else if (!entry.name.startsWith(".")) {
    const reader = entry.createReader();
    const more = () => new Promise((done, failed) => reader.readEntries(done, failed));
    // Browsers hand over a hundred at a time.
    for (let batch = await more(); batch.length; batch = await more())
      for (const inside of batch) await collect(inside, files);
  }
}

/** Call `take({files, skipped})` for whatever comes in, and `failed(sentence)` for what cannot be read. */
export function listen(take, failed) {
  const $ = (id) => document.getElementById(id);
  for (const [buttons, input] of [["[data-pick]", "files"], ["[data-pickfolder]", "folder"]]) {
    for (const button of document.querySelectorAll(buttons)) button.addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => take(ofInput($(input))));
  }
  addEventListener("paste", ({ clipboardData }) => take({ files: [...clipboardData.files], skipped: 0 }));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("veil").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("veil").hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("veil").hidden = true;
    ofDrop(event.dataTransfer).then(take, () => failed("What was dropped cannot be read; choose it with the buttons."));
  });
}
