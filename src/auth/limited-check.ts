// A password in the clear, checked with a count of the wrong ones. It counts before anything is hashed, and
// lets through at once what has been right before. It keeps no password.
import { type AuthFailure, tooBusy } from './failure.ts'
import { tooManyFailures, type Tries } from './failure-limit.ts'
import {
  checkPassword,
  isBeingChecked,
  type PasswordAnswer,
  type PasswordQuestion,
  recallPassword,
} from './password-check.ts'
import type { PasswordWork } from './password-work.ts'

/** What a client sent in the clear, and who counts its tries. */
export interface GivenPassword {
  readonly password: Buffer
  readonly tries: Tries | undefined
}

/**
 * Checks a password, where its tries are counted only after one was taken. One that has been right before is
 * so at once, costs no try, and is never kept waiting by those of others. A promise never rejects.
 */
export function limitedCheck(
  work: PasswordWork,
  question: PasswordQuestion,
  { password, tries }: GivenPassword,
): PasswordAnswer | AuthFailure | Promise<PasswordAnswer | AuthFailure> {
  if (tries === undefined) return checkPassword(work, question, password).catch(tooBusy)
  const known = recallPassword(work, question, password)
  if (known !== null) return known
  // Many clients that begin at once with the same password are one try.
  const isCounted = !isBeingChecked(work, question, password)
  const wait = isCounted ? tries.take() : 0
  if (wait > 0) return tooManyFailures(wait)
  return checkPassword(work, question, password).then(
    (answer) => {
      if (isCounted && answer.isRight) tries.giveBack()
      return answer
    },
    () => {
      if (isCounted) tries.giveBack()
      return tooBusy()
    },
  )
}
