// Results into the visitor's downloads: all of them as one ZIP.

import { save } from "./pictures.js";
import { Zip } from "./zip.js";

/**
 * Pack what `pictures` give into ZIPs, one unless they exceed 4 GB, and hand those over.
 *
 * @param file how to get the File of a picture
 * @param told called with how many are packed
 * @param signal stops between two pictures; what is packed by then is handed over
 * @returns sentences about those that failed
 */
export async function takeAll(pictures, { file, told, signal }) {
  const name = commonFolder(pictures) || "whet";
  const failures = [];
  const notes = [];
  let [zip, number, done] = [new Zip(), 1, 0];
  const close = async () => {
    if (notes.length) await zip.add("notes.txt", new Blob([notes.splice(0).join("")], { type: "text/plain" }));
    if (zip.files) save(new File([zip.blob()], number > 1 ? `${name}-${number}.zip` : `${name}.zip`));
    number++;
  };
  for (const picture of pictures) {
    if (signal.aborted) break;
    try {
      const made = await file(picture);
      if (!zip.takes(made)) {
        await close();
        zip = new Zip();
      }
      const path = `${folderOf(picture)}${made.name}`;
      await zip.add(path, made);
      if (made.notes?.length) notes.push(`${path}\n${made.notes.map((note) => `  ${note}\n`).join("")}`);
      picture.taken = true;
    } catch (error) {
      if (error.name !== "AbortError") failures.push(`${picture.name}: ${error.message}`);
    }
    told(++done);
  }
  await close();
  return failures;
}

const folderOf = ({ file }) => (file.path ?? "").replace(/[^/]*$/, "");

/** The folder that all of them come from, or "". */
function commonFolder(pictures) {
  const [first, ...others] = new Set(pictures.map((picture) => folderOf(picture).split("/")[0]));
  return others.length ? "" : first;
}
