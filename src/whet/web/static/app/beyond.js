// What restoration changed, added to a picture on the GPU: more of it than there is (strengths above
// 100%), or enlarged onto a frame of more pixels. All are textures once; a new strength is one number.

const VERTEX = `#version 300 es
out vec2 at;
void main() {
  at = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0;
  gl_Position = vec4(at * 2.0 - 1.0, 0.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D base, before, after;
uniform float strength;
in vec2 at;
out vec4 colour;
void main() {
  vec4 restored = texture(after, at);
  vec3 more = texture(base, at).rgb + strength * (restored.rgb - texture(before, at).rgb);
  colour = vec4(clamp(more, 0.0, 1.0), restored.a);
}`;
const UNITS = ["base", "before", "after"];

export class Beyond {
  canvas = document.createElement("canvas");
  #gl;
  #sources = {};

  /**
   * Take what the canvas, of `size`, shows: `base`, and what turned `before` into `after`, both of any
   * one size. Returns whether this browser can.
   */
  load(sources, [width, height]) {
    const same = UNITS.every((name) => this.#sources[name] === sources[name]);
    if (same && this.canvas.width === width && this.canvas.height === height) return true;
    this.#gl ??= this.#open();
    const gl = this.#gl;
    if (!gl || gl.isContextLost() || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return false;
    Object.assign(this.canvas, { width, height });
    if (gl.drawingBufferWidth !== width || gl.drawingBufferHeight !== height) return false;
    gl.viewport(0, 0, width, height);
    this.#sources = sources;
    this.renew();
    return true;
  }

  /** Take what the sources show now; for videos and cameras. */
  renew() {
    const gl = this.#gl;
    UNITS.forEach((name, unit) => {
      const first = UNITS.findIndex((other) => this.#sources[other] === this.#sources[name]);
      gl.uniform1i(gl.getUniformLocation(this.program, name), first);
      if (first !== unit) return; // there already
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, this.#sources[name]);
    });
  }

  draw(strength) {
    this.#gl.uniform1f(this.strength, strength);
    this.#gl.drawArrays(this.#gl.TRIANGLES, 0, 3);
  }

  #open() {
    const gl = this.canvas.getContext("webgl2", { premultipliedAlpha: false, preserveDrawingBuffer: true });
    if (!gl) return null;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
    gl.useProgram(program);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    this.program = program;
    this.strength = gl.getUniformLocation(program, "strength");
    UNITS.forEach((_, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
      // Of equal size each pixel is met in its middle, where this changes nothing.
      for (const use of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, use, gl.LINEAR);
    });
    return gl;
  }
}
