// The one contract between the protocol code and whatever carries its bytes (TCP, Unix socket, TLS,
// WebSocket, memory). Implementations live in net/ and test/support; nothing here may import them.

/** Who is at the other end of a stream, for logs, limits and access rules. */
export interface PeerInfo {
  readonly kind: 'tcp' | 'unix' | 'websocket' | 'memory'
  /** IP address without port; '' for a Unix socket. */
  readonly address: string
  readonly port: number
  /** True while the bytes of this stream are encrypted. */
  readonly encrypted: boolean
  /** True where the peer is on this machine (127.0.0.0/8, ::1, Unix socket, memory). */
  readonly loopback: boolean
  /** What TLS has shown; null: nothing yet, or no TLS. */
  readonly tls?: TlsPeer | null
  /** What its HTTP request has shown; absent: it came without one. */
  readonly web?: WebPeer
}

/** What the rules of the endpoint for WebSocket and HTTP make of a request. */
export interface WebPeer {
  /** It is of no page in a browser, or of one that may connect. */
  readonly isOriginAllowed: boolean
  /** The same without a rule that lets in any page. */
  readonly isOriginNamed: boolean
  /** It named a host that nobody else can have made to mean this machine (DNS rebinding). */
  readonly isHostKnown: boolean
  /** Nobody on the way can read a password, or the operator does not mind. */
  readonly takesPasswords: boolean
}

/** What the handshake of an encrypted stream has shown. */
export interface TlsPeer {
  /**
   * Hash of the certificate of whichever side is the server, to which SCRAM can be bound
   * (tls-server-end-point, RFC 5929); null where none is defined for its signature.
   */
  readonly endPoint: Buffer | null
  /** The peer's own certificate, signed by an authority that we know; null: it sent none that is. */
  readonly certificate: CertificateNames | null
  /** Why the certificate that a client sent is not believed, in words; '' where it is, or it sent none. */
  readonly certificateProblem: string
}

/** The names in a certificate. */
export interface CertificateNames {
  /** '' for none. */
  readonly commonName: string
  /** The whole subject as in RFC 2253 (`CN=alice,O=Example`). */
  readonly distinguishedName: string
  /** DNS names, mail addresses and URIs, without their kind. */
  readonly alternativeNames: readonly string[]
}

/** The one owner of a stream. Handing a stream over is assigning another handler. */
export interface StreamHandler {
  /**
   * Bytes arrived. `chunk` is valid only until this call returns, unless the callee writes it to
   * another stream (which copies or takes it) - keep nothing that points into it.
   */
  onData(chunk: Buffer): void
  /** `write` returned false before and the stream takes bytes again. */
  onDrain(): void
  /** The peer ended its half in an orderly way. The stream is still writable. */
  onEnd(): void
  /** The stream is gone, for this reason in words. Called exactly once, never from inside `write`. */
  onClose(reason: string): void
}

/** A two-way stream of bytes with back-pressure. */
export interface ByteStream {
  readonly peer: PeerInfo
  handler: StreamHandler
  /**
   * Takes the bytes: they are copied, or `bytes` must not be changed by the caller afterwards
   * (chunks handed to `onData` may be passed on as they are). What is written within one turn of the
   * event loop leaves in one system call. After `end` or `destroy` it does nothing.
   * @returns false when the caller should stop until `onDrain`.
   */
  write(bytes: Uint8Array): boolean
  /** Stop delivering `onData` (and `onEnd`) until `resume`. Calls do not nest. */
  pause(): void
  resume(): void
  /** Bytes accepted by `write` and not yet handed to the kernel. */
  readonly unsent: number
  /** Flush what was written, then close. */
  end(bytes?: Uint8Array): void
  /** Close now. `onClose(reason)` follows in a later turn. Safe to call twice. */
  destroy(reason: string): void
  /** What a WebSocket gives as its reason when `end` closes it; other streams have no place for one. */
  closeCode?: number
}

/** Certificates and rules for one side of TLS, made by net/tls.ts and opaque to everybody else. */
export interface TlsSettings {
  readonly role: 'client' | 'server'
}

/** Why there is no TLS. `isFinal`: there will be none until somebody changes something. */
export type SecureError = Error & { readonly isFinal?: boolean }

/** A stream that can turn to TLS in its middle. */
export interface SecurableStream extends ByteStream {
  /**
   * Starts TLS on this stream, in the role that `settings` names. `early` are bytes already read that belong
   * to the handshake (direct TLS). `done` is called once; after an error the stream is being destroyed. The
   * handler, `pause` and `write` may be used again when `done` was called without an error.
   */
  secure(settings: TlsSettings, early: Buffer | null, done: (error: SecureError | null) => void): void
  /**
   * Gives back bytes that came behind a request for TLS, for the handshake that `secure` starts in the same
   * turn. Only on a WebSocket: elsewhere such bytes are refused.
   */
  unread?(bytes: Buffer): void
}
