// Owns: the bugs that are planted into shared dispatch to see whether the simulation finds them; as in
// pooler-plants.ts, patches of the test's own process that are taken back.

import { Dispatch } from '../../src/backend/dispatch.ts'
import { Lane } from '../../src/backend/lane.ts'
import { LaneAnswers } from '../../src/backend/lane-answers.ts'
import { SharedExchange } from '../../src/backend/shared-exchange.ts'
import { ClientSharing } from '../../src/frontend/client-sharing.ts'
import { Replies, Reply, REPLY_KIND } from '../../src/pool/replies.ts'
import { ServerStatements } from '../../src/session/server-statements.ts'
import { FromServer } from '../../src/wire/protocol.ts'
import type { Framer } from '../../src/wire/framer.ts'
import type { Patch, PlantedBug } from './pooler-plants.ts'

const nothing = () => () => {}

function patched(install: (patch: Patch) => void): PlantedBug {
  return { install }
}

export const PLANTED_SHARED: Record<string, PlantedBug> = {
  'the answers of two exchanges change places': patched((patch) =>
    patch(
      Lane.prototype,
      'append',
      (append: Lane['append']) =>
        function (this: Lane, exchange: SharedExchange, bytes: Buffer): void {
          append.call(this, exchange, bytes)
          const { replies } = this.server!.talk
          const before = replies.size > 1 ? replies.refAt(replies.size - 2) : null
          if (!(before instanceof SharedExchange) || before.client === null || before.isForwarded) return
          const { client } = exchange
          exchange.client = before.client
          before.client = client
        },
    ),
  ),
  'an exchange ends without its ReadyForQuery': patched((patch) =>
    patch(
      LaneAnswers.prototype,
      'take',
      (take: LaneAnswers['take']) =>
        function (this: LaneAnswers, framer: Framer, found: number): void {
          if (framer.type === FromServer.CommandComplete) framer.type = FromServer.ReadyForQuery
          take.call(this, framer, found)
        },
    ),
  ),
  'an error is kept from its client': patched((patch) =>
    patch(
      LaneAnswers.prototype,
      'take',
      (take: LaneAnswers['take']) =>
        function (this: LaneAnswers, framer: Framer, found: number): void {
          if (framer.type !== FromServer.DataRow) take.call(this, framer, found)
        },
    ),
  ),
  'what is sent again is answered twice': patched((patch) =>
    patch(
      SharedExchange.prototype,
      'letGo',
      () =>
        function (this: SharedExchange) {
          if (this.client !== null) this.client.shared = null
          return this.client
        },
    ),
  ),
  'what was sent to a server that is lost is forgotten': patched((patch) =>
    patch(Lane.prototype, 'onServerLost', () => () => {}),
  ),
  'what stands behind a slow head is forgotten': patched((patch) =>
    patch(ClientSharing.prototype, 'onSharedBack', nothing),
  ),
  'a cancel of what has not begun goes to Postgres': patched((patch) =>
    patch(
      Lane.prototype,
      'cancel',
      () =>
        function (this: Lane, _exchange: SharedExchange, onOver: () => void): void {
          if (this.server === null) onOver()
          else this.server.cancel(onOver)
        },
    ),
  ),
  'other settings are taken for the same': patched((patch) =>
    patch(
      Dispatch.prototype,
      'offer',
      (offer: Dispatch['offer']) =>
        function (this: Dispatch, ...[client, framer]: Parameters<Dispatch['offer']>): number {
          const [lane] = this.lanes
          if (lane !== undefined) client.session.settings = lane.settings
          return offer.call(this, client, framer)
        },
    ),
  ),
  'a statement is taken to be on every server': patched((patch) =>
    patch(ServerStatements.prototype, 'isFresh', () => () => true),
  ),
  'lanes are kept for ever': patched((patch) => patch(Dispatch.prototype, 'tick', nothing)),
  'a lane ends with exchanges in flight': patched((patch) =>
    patch(
      Lane.prototype,
      'settle',
      (settle: Lane['settle']) =>
        function (this: Lane): boolean {
          const goesOn = settle.call(this)
          const { talk } = this.server!
          if (this.isOpen || talk.replies.size === 0) return goesOn
          while ((talk.replies.head & REPLY_KIND) === Reply.Shared) talk.replies.shift()
          talk.exchanges = 0
          return settle.call(this)
        },
    ),
  ),
  'the unnamed statement of another client is believed to be there': patched((patch) =>
    patch(
      Lane.prototype,
      'append',
      (append: Lane['append']) =>
        function (this: Lane, exchange: SharedExchange, bytes: Buffer): void {
          const { talk } = this.server!
          const { unnamedOf } = talk
          append.call(this, exchange, bytes)
          talk.unnamedOf = unnamedOf ?? exchange.client?.session ?? null
          talk.unnamedVersion = talk.unnamedOf?.unnamedVersion ?? 0
        },
    ),
  ),
  'an exchange is taken from the queue twice': patched((patch) =>
    patch(
      Replies.prototype,
      'shift',
      (shift: Replies['shift']) =>
        function (this: Replies): void {
          const isShared = this.head === Reply.Shared
          shift.call(this)
          if (isShared && this.head === Reply.Shared) shift.call(this)
        },
    ),
  ),
}

/** Seeds to begin with for bugs that few worlds show; the others are searched all the same. */
export const FOUND_BY: Readonly<Record<string, number>> = {
  'a cancel of what has not begun goes to Postgres': 2075,
  'what is sent again is answered twice': 583,
  'the unnamed statement of another client is believed to be there': 2751,
  'what was sent to a server that is lost is forgotten': 203,
  'what stands behind a slow head is forgotten': 203,
}
