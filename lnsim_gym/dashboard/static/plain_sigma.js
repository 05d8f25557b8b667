// Sigma without WebGL, for machines without a graphics card: one plain canvas takes channels, nodes and names. There a
// processor would have to do a graphics card's work, which takes ten times as long, or WebGL is not there at all.

import { Sigma } from "./vendor/graph.js";

const SHARED = ["edges", "edgeLabels", "nodes", "labels", "hoverNodes"]; // layers of sigma that are one canvas here
const BY_PROCESSOR = /swiftshader|llvmpipe|softpipe|software|basic render/i; // renderers that need no graphics card
const nothing = () => null;
const NO_WEBGL = { bindFramebuffer: nothing, clear: nothing, viewport: nothing, getExtension: nothing };

/** Whether a graphics card draws WebGL. */
export function hasGraphicsCard() {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const named = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = gl.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !BY_PROCESSOR.test(renderer); // not every browser counts that as a caveat
}

export class PlainSigma extends Sigma {
  constructor(graph, box, settings) {
    const edgeProgramClasses = { arrow: Pieces, line: Pieces, above: Pieces };
    super(graph, box, { ...settings, edgeProgramClasses, nodeProgramClasses: { circle: Discs } });
  }

  createWebGLContext(id) {
    this.createCanvasContext(id);
    this.webGLContexts[id] = NO_WEBGL;
  }

  createCanvas(id, options) {
    const shared = SHARED.includes(id) && this.elements[SHARED[0]];
    if (!shared) return super.createCanvas(id, options);
    return (this.elements[id] = shared);
  }

  clear() {
    this.canvasContexts.edges.setTransform(this.pixelRatio, 0, 0, this.pixelRatio, 0, 0);
    return super.clear();
  }

  /** Draw channels and nodes, too: sigma calls this last. */
  renderLabels() {
    const context = this.canvasContexts.edges;
    const [origin, right, up] = [[0, 0], [1, 0], [0, 1]].map(([x, y]) => this.framedGraphToViewport({ x, y }));
    const place = ({ x, y }) => [origin.x + x * (right.x - origin.x) + y * (up.x - origin.x), origin.y + x * (right.y - origin.y) + y * (up.y - origin.y)];
    const px = this.scaleSize(1);
    for (const program of [...Object.values(this.edgePrograms), ...Object.values(this.nodePrograms)]) program.draw(context, place, px);
    return super.renderLabels();
  }

  getNodeAtPosition(place) {
    const px = this.scaleSize(1);
    const near = (key) => {
      const node = this.getNodeDisplayData(key);
      const { x, y } = this.framedGraphToViewport(node);
      return Math.hypot(x - place.x, y - place.y) <= node.size * px;
    };
    return this.graph.findNode(near) ?? null;
  }

  resetWebGLTexture() {
    return this;
  }
}

/** What sigma asks of whatever draws its nodes or edges. */
class Program {
  items = [];

  reallocate(count) {
    this.items.length = count;
  }

  render() {} // see draw

  kill() {}
}

/** Pieces of channels, as straight lines. */
class Pieces extends Program {
  process(_, place, from, to, piece) {
    this.items[place] = { from, to, piece };
  }

  draw(context, place, px) {
    for (const { from, to, piece } of this.items) {
      if (piece.hidden) continue;
      context.lineWidth = Math.max(1, piece.size * px);
      context.strokeStyle = piece.color;
      context.beginPath();
      context.moveTo(...place(from));
      context.lineTo(...place(to));
      context.stroke();
    }
  }
}

/** Nodes, as discs. */
class Discs extends Program {
  process(_, place, node) {
    this.items[place] = node;
  }

  draw(context, place, px) {
    for (const node of this.items) {
      const radius = node.size * px;
      if (node.hidden || radius < 0.1) continue;
      context.fillStyle = node.color;
      context.beginPath();
      context.arc(...place(node), radius, 0, 2 * Math.PI);
      context.fill();
    }
  }
}
