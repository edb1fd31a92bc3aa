// Images made of a few files, as archives and in a registry on loopback that hands out its layers as the test wants: whole, half
// and then waiting, or other bytes than it promised.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";

const BLOCK_BYTES = 512;
const PIECES = 8;
const PIECE_EVERY_MS = 60;
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";

const digest = (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** A ustar archive of these paths; a path that ends with a slash is a folder. */
export function tar(files) {
  const parts = [];
  for (const [path, content] of Object.entries(files)) {
    const bytes = Buffer.from(content ?? "");
    const isFolder = path.endsWith("/");
    const head = Buffer.alloc(BLOCK_BYTES);
    head.write(path, 0, 100);
    head.write(isFolder || path.startsWith("bin/") ? "0000755\0" : "0000644\0", 100);
    head.write("0000000\0".repeat(2), 108);
    head.write(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
    head.write("00000000000\0", 136);
    head.write("        ", 148);
    head.write(isFolder ? "5" : "0", 156);
    head.write("ustar\x0000", 257);
    const sum = head.reduce((total, byte) => total + byte, 0);
    head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    parts.push(head, bytes, Buffer.alloc((BLOCK_BYTES - (bytes.length % BLOCK_BYTES)) % BLOCK_BYTES));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** An image: `layers` are objects of files, lowest first, each made by the command of the same place in `commands`. */
export function image(layers, commands, config = {}) {
  const archives = layers.map(tar);
  const blobs = archives.map((archive) => gzipSync(archive));
  const document = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      created: "2026-01-02T03:04:05Z",
      config: { Cmd: ["/bin/sh"], Env: ["PATH=/bin"], Labels: { note: "made for a test" }, ...config },
      rootfs: { type: "layers", diff_ids: archives.map(digest) },
      history: commands.map((created_by) => ({ created: "2026-01-02T03:04:05Z", created_by })),
    }),
  );
  const described = (mediaType, bytes) => ({ mediaType, digest: digest(bytes), size: bytes.length });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: described("application/vnd.oci.image.config.v1+json", document),
      layers: blobs.map((blob) => described(LAYER_TYPE, blob)),
    }),
  );
  return { manifest, blobs: new Map([document, ...blobs].map((blob) => [digest(blob), blob])), layers: blobs.map(digest) };
}

/** The archive of an image in OCI's layout, which carries its name, as `skopeo copy … oci-archive:` writes it. */
export function ociArchive({ manifest, blobs }, name) {
  const annotations = name ? { "org.opencontainers.image.ref.name": name } : {};
  const listed = { mediaType: MANIFEST_TYPE, digest: digest(manifest), size: manifest.length, annotations };
  const files = { "oci-layout": '{"imageLayoutVersion":"1.0.0"}', "index.json": JSON.stringify({ schemaVersion: 2, manifests: [listed] }) };
  for (const [of, blob] of [...blobs, [digest(manifest), manifest]]) files[`blobs/sha256/${of.split(":")[1]}`] = blob;
  return tar(files);
}

/** A registry on loopback. */
export class Registry {
  constructor() {
    this.images = new Map();
    this.login = null;
    this.held = new Map();
    this.spoiled = new Set();
  }

  async start() {
    this.server = createServer((request, response) => this.answer(request, response));
    await new Promise((resume) => this.server.listen(0, "127.0.0.1", resume));
    this.host = `127.0.0.1:${this.server.address().port}`;
    return this;
  }

  /** Has an image under `repository:tag`; what a person types to pull it. */
  put(name, image) {
    this.images.set(name, image);
    return `${this.host}/${name}`;
  }

  /** Sends half of this blob and then waits, until the function is called that this returns. */
  hold(of) {
    let release;
    this.held.set(of, new Promise((resume) => (release = resume)));
    return () => {
      this.held.delete(of);
      release();
    };
  }

  /** Sends other bytes than this blob's digest promises. */
  spoil(of) {
    this.spoiled.add(of);
  }

  async answer(request, response) {
    const refuse = (status, headers = {}) => response.writeHead(status, headers).end("{}");
    if (this.login && request.headers.authorization !== `Basic ${Buffer.from(this.login).toString("base64")}`) {
      return refuse(401, { "www-authenticate": 'Basic realm="test"' });
    }
    if (request.url === "/v2/") return refuse(200);
    const [, repository, kind, reference] = request.url.match(/^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/) ?? [];
    if (kind === "manifests") {
      const image = [...this.images].find(([name, { manifest }]) => name === `${repository}:${reference}` || reference === digest(manifest));
      if (!image) return refuse(404);
      const { manifest } = image[1];
      response.writeHead(200, { "content-type": MANIFEST_TYPE, "content-length": manifest.length, "docker-content-digest": digest(manifest) });
      return response.end(request.method === "HEAD" ? undefined : manifest);
    }
    const blob = [...this.images.values()].map(({ blobs }) => blobs.get(reference)).find(Boolean);
    if (!blob) return refuse(404);
    response.writeHead(200, { "content-length": blob.length });
    const half = blob.length >> 1;
    const gate = this.held.get(reference);
    // In pieces, as from far away: how far it is is told now and then, with what arrives.
    const pieces = gate ? PIECES : 1;
    for (let piece = 0; piece < pieces; piece++) {
      response.write(blob.subarray((half * piece) / pieces, (half * (piece + 1)) / pieces));
      if (gate) await new Promise((resume) => setTimeout(resume, PIECE_EVERY_MS));
    }
    await gate;
    const rest = Buffer.from(blob.subarray(half));
    if (this.spoiled.has(reference)) rest[rest.length - 1] ^= 0xff;
    return response.end(rest);
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
