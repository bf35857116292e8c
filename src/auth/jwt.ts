// Tokens (JWT, RFC 7519): whether one is to be believed, and what its holder may be. Pure but for the
// signature, which is checked by the runtime. Keys and time are given; it never follows an address in a token
// and never keeps one.
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from 'jose'
import type { JwtConfig } from '../config/types.ts'
import { type AuthFailure, failure } from './failure.ts'

/** Longest token that is looked at. Its claims fit into a startup packet of Postgres (10,000 bytes). */
const TOKEN_MAX = 8 * 1024

/** Loaded when tokens are configured: most do without, and it costs 15 MiB. */
export const jose = (): Promise<typeof import('jose')> => import('jose')

/** What tokens must say. */
export type TokenRules = Pick<
  JwtConfig,
  'algorithms' | 'issuer' | 'audience' | 'roleClaim' | 'roles' | 'loginUser' | 'leewayMs'
>

/** What a token that was believed says of its holder. */
export interface Claims {
  /** All of it, as JSON. */
  readonly json: string
  /** Whom its statements run as: taken for the transaction (HTTP) or the session (WebSocket). */
  readonly role: string
  /** Who logs in to Postgres; the same as `role` where none has to be taken. */
  readonly loginUser: string
  /** When it ends, in milliseconds since 1970. */
  readonly expiresAt: number
}

/** A token whose signature and times are right, whoever its holder wants to be. */
export interface Believed {
  readonly payload: JWTPayload
  readonly json: string
  readonly expiresAt: number
}

/** Judges tokens for all doors. */
export interface TokenJudge {
  /** False: no token is believed, and none looked for. */
  readonly isOn: boolean
  /**
   * At once for a token that was believed before. A promise never rejects.
   * @param user whom its holder wants to be; '' : whom the token names
   */
  judge(token: string, user: string, address: string): Judged | Promise<Judged>
  hasEnded(claims: Claims): boolean
}

export type Judged = Claims | AuthFailure

/** Where no keys are configured. */
export const NO_TOKENS: TokenJudge = {
  isOn: false,
  judge: noTokens,
  hasEnded: () => false,
}

export function noTokens(): AuthFailure {
  const hint = 'Configure serverless.jwt, or log in with a password.'
  return { ...refused('no tokens are taken here'), hint }
}

/** Three parts in base64url, the first of them a JSON object: nobody's password by chance. */
export function looksLikeToken(text: string): boolean {
  return /^eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/.test(text)
}

/** With what a token is checked. */
export interface TokenCheck {
  readonly rules: TokenRules
  readonly keys: JWTVerifyGetKey
  readonly now: NonNullable<JWTVerifyOptions['currentDate']>
}

/**
 * Checks signature, issuer, audience and times.
 * @throws what `keys` throws besides errors of jose
 */
export async function believe(
  token: string,
  { rules, keys, now }: TokenCheck,
): Promise<Believed | AuthFailure> {
  if (token.length > TOKEN_MAX) return refused(`it is longer than ${TOKEN_MAX} bytes`)
  const { jwtVerify } = await jose()
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: [...rules.algorithms],
      issuer: rules.issuer,
      audience: rules.audience,
      clockTolerance: rules.leewayMs / 1000,
      currentDate: now,
      requiredClaims: ['exp'],
    })
    // Not as it came: of a name that stands there twice, all who read it must read the same.
    const json = JSON.stringify(payload)
    return { payload, json, expiresAt: (payload.exp ?? 0) * 1000 + rules.leewayMs }
  } catch (thrown) {
    const words = wordsFor(thrown as Error)
    if (words === null) throw thrown
    return refused(words)
  }
}

/** What its holder gets as this user ('' : as the one role that the token names). */
export function claimsOf({ payload, json, expiresAt }: Believed, rules: TokenRules, user: string): Judged {
  const isBound = rules.roleClaim !== ''
  const said = isBound && Object.hasOwn(payload, rules.roleClaim) ? payload[rules.roleClaim] : null
  const held = typeof said === 'string' ? [said] : Array.isArray(said) ? said : []
  const role = user === '' && held.length === 1 ? String(held[0]) : user
  if (role === '') return refused('it names no role, or several: say in the connection string which one')
  const isHeld = !isBound || held.includes(role)
  if (!isHeld || !rules.roles.includes(role)) return refused(`it does not allow its holder to be "${role}"`)
  return { json, role, loginUser: rules.loginUser || role, expiresAt }
}

/** Why a token is not taken. Whoever holds it may know. */
export function refused(why: string): AuthFailure {
  return failure('28000', `token authentication failed: ${why}`)
}

/** Tokens may be wrong for a while only: their keys cannot be had. */
export function keysUnreachable(): AuthFailure {
  return {
    ...failure('58000', 'tokens cannot be checked: their keys cannot be read'),
    hint: 'Try again in a moment; the log of the pooler says why.',
  }
}

/** What jose throws for a token that names no key that there is. */
export const NO_SUCH_KEY = 'ERR_JWKS_NO_MATCHING_KEY'

/** @returns null: it is nothing about the token */
function wordsFor({ code = '', claim = '' }: Error & { code?: string; claim?: string }): string | null {
  switch (code) {
    case 'ERR_JWT_EXPIRED':
      return 'it has expired'
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      if (claim === 'nbf') return 'it is not valid yet'
      return `its claim "${claim}" is missing or not the one wanted here`
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
      return 'its kind of signature is not taken here'
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return 'its signature is wrong'
    case NO_SUCH_KEY:
    case 'ERR_JWKS_MULTIPLE_MATCHING_KEYS':
      return 'it is signed with a key that is not known here'
    default:
      return /^ERR_J(OSE|W[EKST]|WKS)_/.test(code) ? 'it is no valid JSON web token' : null
  }
}
