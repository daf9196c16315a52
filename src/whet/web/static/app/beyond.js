// Strengths above 100%: the untouched picture plus more of what restoration changed, clamped. Both
// are textures once; a new strength is one number.

const VERTEX = `#version 300 es
out vec2 at;
void main() {
  at = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0;
  gl_Position = vec4(at * 2.0 - 1.0, 0.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D before, after;
uniform float strength;
in vec2 at;
out vec4 colour;
void main() {
  vec4 untouched = texture(before, at), restored = texture(after, at);
  vec3 more = untouched.rgb + strength * (restored.rgb - untouched.rgb);
  colour = vec4(clamp(more, 0.0, 1.0), restored.a);
}`;

export class Beyond {
  canvas = document.createElement("canvas");
  #gl;
  #pair = [];

  /** Take two images or videos of `size`; returns whether this browser can. */
  load(before, after, [width, height]) {
    if (this.#pair[0] === before && this.#pair[1] === after) return true;
    this.#gl ??= this.#open();
    const gl = this.#gl;
    if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return false;
    Object.assign(this.canvas, { width, height });
    if (gl.drawingBufferWidth !== width || gl.drawingBufferHeight !== height) return false;
    gl.viewport(0, 0, width, height);
    this.#pair = [before, after];
    this.renew();
    return true;
  }

  /** Take what both show now; for videos. */
  renew() {
    const gl = this.#gl;
    this.#pair.forEach((source, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source);
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
    this.strength = gl.getUniformLocation(program, "strength");
    ["before", "after"].forEach((name, unit) => {
      gl.uniform1i(gl.getUniformLocation(program, name), unit);
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
      for (const use of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, use, gl.NEAREST);
    });
    return gl;
  }
}
