// What the page needs of the server and of the browser around it.

export interface ServerEvent {
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Host {
  /** Call the API: the path below `api/1/`. Throws `ApiError`. */
  call(method: "GET" | "POST", path: string, body?: unknown): Promise<unknown>;
  upload(file: Blob, name: string): Promise<unknown>;
  /** A link to a thumbnail whose longer side has at least these pixels, if there is one. */
  thumbnail(id: string, pixels: number): string;
  file(id: string, download?: boolean): string;
  /** A link to something else of the API. */
  link(path: string): string;
  events(after: string, listener: (event: ServerEvent) => void, connected: (is: boolean) => void): () => void;
}

/** A failure that the server has put into one sentence. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    sentence: string,
    readonly details: Readonly<Record<string, unknown>> = {},
    readonly retryable = false,
  ) {
    super(sentence);
  }
}

/** The server does not answer: it was stopped, or the machine is offline. */
export class Unreachable extends Error {}

const SIZES = [128, 256, 512, 1024, 2048] as const;

export function sizeFor(pixels: number): number {
  return SIZES.find((size) => size >= pixels) ?? 2048;
}
