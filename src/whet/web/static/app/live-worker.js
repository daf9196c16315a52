// The network, off the page's thread: a frame comes in, the same frame and the restored one go back.

import { keepFlat } from "./flat.js";

const base = new URL("../", self.location.href);
const GPU = "WebGPU";
let runtime, session, canvas, context, input, model, multiple, backend;

/** Open the network on the GPU if there is a real one that computes, else on the processor. */
async function open(gpu) {
  const options = { graphOptimizationLevel: "all" };
  const threads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  const load = async (file) => {
    const ort = await import(new URL(`runtime/${file}`, base));
    ort.env.wasm.wasmPaths = new URL("runtime/", base).href;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
    return ort;
  };
  const adapter = gpu && (await navigator.gpu?.requestAdapter().catch(() => null));
  if (adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)) {
    try {
      runtime = await load("ort.webgpu.min.mjs");
      session = await runtime.InferenceSession.create(model, { ...options, executionProviders: ["webgpu"] });
      await tryOut();
      return GPU;
    } catch {
      // Drivers differ in what they really do; the processor always works.
    }
  }
  runtime = await load("ort.wasm.min.mjs");
  session = await runtime.InferenceSession.create(model, { ...options, executionProviders: ["wasm"] });
  return threads > 1 ? `processor, ${threads} threads` : "processor, one thread";
}

/** Restore a grey square, which must stay grey; this compiles what the first frame needs, too. */
async function tryOut() {
  const side = 8 * multiple;
  const grey = new runtime.Tensor("float32", new Float32Array(3 * side * side).fill(0.5), [1, 3, side, side]);
  const { restored } = await session.run({ degraded: grey });
  const middle = (await restored.getData())[(side * side + side) >> 1];
  restored.dispose();
  if (!(Math.abs(middle - 0.5) < 0.1)) throw new Error("the GPU computes something else");
}

/** Restore one ImageBitmap at a number of lines; returns both pictures and the time it took. */
async function restore(bitmap, lines) {
  const started = performance.now();
  const high = lines;
  const wide = Math.max(1, Math.round((bitmap.width * lines) / bitmap.height / multiple)) * multiple;
  if (!canvas || canvas.width !== wide || canvas.height !== high) {
    canvas = new OffscreenCanvas(wide, high);
    context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    input = new Float32Array(3 * wide * high);
  }
  context.drawImage(bitmap, 0, 0, wide, high);
  const before = context.getImageData(0, 0, wide, high);
  const pixels = before.data;
  const plane = wide * high;
  for (let i = 0, j = 0; i < plane; i++, j += 4) {
    input[i] = pixels[j] / 255;
    input[i + plane] = pixels[j + 1] / 255;
    input[i + 2 * plane] = pixels[j + 2] / 255;
  }
  const degraded = new runtime.Tensor("float32", input, [1, 3, high, wide]);
  const { restored } = await session.run({ degraded });
  const output = await restored.getData();
  const after = new ImageData(wide, high);
  const target = after.data; // clamps and rounds by itself
  for (let i = 0, j = 0; i < plane; i++, j += 4) {
    target[j] = output[i] * 255;
    target[j + 1] = output[i + plane] * 255;
    target[j + 2] = output[i + 2 * plane] * 255;
    target[j + 3] = 255;
  }
  restored.dispose();
  keepFlat(before, after);
  return { before, after, milliseconds: performance.now() - started };
}

self.onmessage = async ({ data }) => {
  try {
    if (data.model) {
      ({ model, multiple } = data);
      backend = await open(true);
      self.postMessage({ opened: backend });
      return;
    }
    const { bitmap, taken } = data;
    const restored = await restore(bitmap, data.lines);
    const { before, after } = restored;
    self.postMessage({ ...restored, bitmap, taken }, [before.data.buffer, after.data.buffer, bitmap]);
  } catch (error) {
    const sentence = String(error?.message ?? error);
    if (backend !== GPU) self.postMessage({ failed: sentence });
    else {
      // GPUs are lost when a laptop sleeps or a driver is renewed.
      backend = await open(false).catch(() => null);
      self.postMessage(backend ? { reopened: backend } : { failed: sentence });
    }
  }
};
