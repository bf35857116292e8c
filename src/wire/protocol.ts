// The message types of protocol 3 and the longest message of each type. Facts only, no behaviour.
// Source: Postgres documentation, "Message Formats"; limits: PQ_SMALL_MESSAGE_LIMIT and
// PQ_LARGE_MESSAGE_LIMIT in Postgres' libpq.h, as SocketBackend() applies them.

/** Types of messages that a client sends. */
export const FromClient = {
  Bind: 0x42,
  Close: 0x43,
  Describe: 0x44,
  Execute: 0x45,
  FunctionCall: 0x46,
  Flush: 0x48,
  Parse: 0x50,
  Query: 0x51,
  Sync: 0x53,
  Terminate: 0x58,
  CopyDone: 0x63,
  CopyData: 0x64,
  CopyFail: 0x66,
  Password: 0x70,
} as const

/** Types of messages that Postgres sends. */
export const FromServer = {
  ParseComplete: 0x31,
  BindComplete: 0x32,
  CloseComplete: 0x33,
  NotificationResponse: 0x41,
  CommandComplete: 0x43,
  DataRow: 0x44,
  ErrorResponse: 0x45,
  CopyInResponse: 0x47,
  CopyOutResponse: 0x48,
  EmptyQueryResponse: 0x49,
  BackendKeyData: 0x4b,
  NoticeResponse: 0x4e,
  Authentication: 0x52,
  ParameterStatus: 0x53,
  RowDescription: 0x54,
  FunctionCallResponse: 0x56,
  CopyBothResponse: 0x57,
  ReadyForQuery: 0x5a,
  CopyDone: 0x63,
  CopyData: 0x64,
  NoData: 0x6e,
  PortalSuspended: 0x73,
  ParameterDescription: 0x74,
  NegotiateProtocolVersion: 0x76,
} as const

/** The status byte of ReadyForQuery. */
export const Status = { Idle: 0x49, Transaction: 0x54, Failed: 0x45 } as const

/** What the framer does with a message type. */
export const Take = {
  /** Not a type of this side: a protocol violation. */
  Refuse: 0,
  /** The body is not looked at: any piece of it is given out as it comes. */
  Stream: 1,
  /** Given out in one piece (up to the framer's `wholeMax`, above it as Prefix). */
  Whole: 2,
  /** The first `prefixMax` bytes in one piece, the rest as it comes. */
  Prefix: 3,
} as const

/**
 * What is taken how, and how long a message may be (the length field, without the type byte), by type byte.
 */
export interface FrameRules {
  readonly take: Uint8Array
  readonly lengthMax: Float64Array
}

const SMALL = 10_000
const LARGE = 0x3fff_fffe
/** An authentication token: PG_MAX_AUTH_TOKEN_LENGTH. */
const TOKEN = 65_535

function rules(entries: readonly (readonly [type: number, take: number, lengthMax: number])[]): FrameRules {
  const take = new Uint8Array(256)
  const lengthMax = new Float64Array(256)
  for (const [type, how, max] of entries) {
    take[type] = how
    lengthMax[type] = max
  }
  return { take, lengthMax }
}

const C = FromClient
const S = FromServer

/** A client that has logged in. */
export const CLIENT_RULES: FrameRules = rules([
  [C.Bind, Take.Prefix, LARGE],
  [C.Close, Take.Whole, SMALL],
  [C.Describe, Take.Whole, SMALL],
  [C.Execute, Take.Stream, SMALL],
  [C.FunctionCall, Take.Stream, LARGE],
  [C.Flush, Take.Whole, 4],
  [C.Parse, Take.Whole, LARGE],
  [C.Query, Take.Whole, LARGE],
  [C.Sync, Take.Whole, 4],
  [C.Terminate, Take.Whole, SMALL],
  [C.CopyDone, Take.Whole, 4],
  [C.CopyData, Take.Stream, LARGE],
  [C.CopyFail, Take.Stream, SMALL],
])

/** A client that is logging in: password and SASL messages only. */
export const LOGIN_RULES: FrameRules = rules([[C.Password, Take.Whole, TOKEN]])

/**
 * A server. It may send longer messages than it takes; small ones that we read whole are bounded by the
 * framer.
 */
export const SERVER_RULES: FrameRules = rules([
  [S.ParseComplete, Take.Stream, 4],
  [S.BindComplete, Take.Stream, 4],
  [S.CloseComplete, Take.Stream, 4],
  [S.NotificationResponse, Take.Whole, LARGE],
  [S.CommandComplete, Take.Whole, SMALL],
  [S.DataRow, Take.Stream, 0x7fff_ffff],
  [S.ErrorResponse, Take.Whole, LARGE],
  [S.CopyInResponse, Take.Stream, LARGE],
  [S.CopyOutResponse, Take.Stream, LARGE],
  [S.EmptyQueryResponse, Take.Stream, 4],
  [S.BackendKeyData, Take.Whole, SMALL],
  [S.NoticeResponse, Take.Whole, LARGE],
  [S.Authentication, Take.Whole, TOKEN],
  [S.ParameterStatus, Take.Whole, LARGE],
  [S.RowDescription, Take.Whole, LARGE],
  [S.FunctionCallResponse, Take.Stream, 0x7fff_ffff],
  [S.CopyBothResponse, Take.Stream, LARGE],
  [S.ReadyForQuery, Take.Whole, 5],
  [S.CopyDone, Take.Stream, 4],
  [S.CopyData, Take.Stream, 0x7fff_ffff],
  [S.NoData, Take.Stream, 4],
  [S.PortalSuspended, Take.Stream, 4],
  [S.ParameterDescription, Take.Whole, LARGE],
  [S.NegotiateProtocolVersion, Take.Whole, TOKEN],
])

/** Longest message of the answer to a question of our own: a few short columns. */
const ANSWER = 65_535

/** A server that answers a question of our own: every message is read whole, and none is long. */
export const ANSWER_RULES: FrameRules = rules(
  [
    S.ParseComplete,
    S.BindComplete,
    S.NotificationResponse,
    S.CommandComplete,
    S.DataRow,
    S.ErrorResponse,
    S.EmptyQueryResponse,
    S.NoticeResponse,
    S.ParameterStatus,
    S.RowDescription,
    S.ReadyForQuery,
    S.NoData,
    S.PortalSuspended,
  ].map((type) => [type, Take.Whole, ANSWER] as const),
)
