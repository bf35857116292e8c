// Which statements of a transaction may be the reason of a pin: noted as they are sent, looked up when
// Postgres has said what is left. It owns the beginnings of these texts and nothing else.
import type { PinReason } from '../session/pins.ts'
import { type Effects, Touch } from '../sql/effects.ts'

const OF_TOUCHES: readonly (readonly [reason: PinReason, touches: number])[] = [
  ['temp', Touch.Temp | Touch.Creates],
  ['advisory_lock', Touch.Locks],
  ['cursor', Touch.Cursors],
  ['listen', Touch.Channels],
  ['sql_prepare', Touch.Prepared],
  ['backend_state', Touch.Backend],
  ['custom_setting', Touch.AnyName],
  ['privileged_setting', Touch.Settings],
  ['by_hand', Touch.Settings],
]
const ANY = OF_TOUCHES.reduce((all, [, touches]) => all | touches, Touch.Unknown)

export class Blame {
  readonly #labels = new Map<PinReason, string>()
  /** Of a text that may do anything. */
  #anything = ''

  /** How the statement began to which a pin of this reason goes back; '' : it cannot be told. */
  of(reason: PinReason): string {
    return this.#labels.get(reason) ?? this.#anything
  }

  note({ touches, label }: Effects): void {
    if ((touches & Touch.Unknown) !== 0) this.#anything = label
    for (const [reason, touch] of OF_TOUCHES) if ((touches & touch) !== 0) this.#labels.set(reason, label)
  }
}

/** @param blame what was noted before; null: nothing */
export function blamed(blame: Blame | null, effects: Effects): Blame | null {
  if ((effects.touches & ANY) === 0 || effects.label === '') return blame
  const noted = blame ?? new Blame()
  noted.note(effects)
  return noted
}
