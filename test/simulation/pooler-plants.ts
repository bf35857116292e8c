// Owns: the bugs that are planted into the pooler to see whether the simulation finds them. Patches live in
// the test's own process and are taken back; nothing in src knows of them.

import { Client } from '../../src/frontend/client.ts'
import { Held } from '../../src/frontend/held.ts'
import { Fate, Replies, Reply, REPLY_KIND } from '../../src/pool/replies.ts'
import { ServerStatements } from '../../src/session/server-statements.ts'
import { Registry } from '../../src/session/registry.ts'
import { ClientStatements, type Definition } from '../../src/session/statements.ts'
import { Settings } from '../../src/session/settings.ts'
import type { Effects } from '../../src/sql/effects.ts'
import { Run } from '../../src/serverless/http/run.ts'
import { SYNC } from '../../src/wire/messages.ts'
import { FromClient, Status } from '../../src/wire/protocol.ts'
import { REPORTED } from '../support/fake/settings.ts'
import type { Plant } from './pooler-world.ts'

export interface PlantedBug {
  /** Patches prototypes. */
  install?: (patch: Patch) => void
  /** Changes one server that has logged in. */
  server?: Plant
}

/** Replaces properties of an object, to be taken back later. */
export type Patch = <T extends object>(
  target: T,
  name: keyof T & string,
  make: (before: never) => unknown,
) => void

export const PLANTED: Record<string, PlantedBug> = {
  'a server is free at its first ReadyForQuery': {
    server: ({ talk }) => {
      Object.defineProperty(talk, 'isFree', { get: () => talk.status === Status.Idle && talk.restOut === 0 })
    },
  },
  'an error takes all expected replies with it': {
    install: (patch) =>
      patch(
        Replies.prototype,
        'skipToSync',
        () =>
          function (this: Replies, dropped: (code: number, ref: unknown) => void): void {
            while (this.size > 0) {
              const [code, ref] = [this.head, this.headRef]
              this.shift()
              dropped(code, ref)
            }
          },
      ),
  },
  'an error skips nothing': {
    install: (patch) => patch(Replies.prototype, 'skipToSync', () => () => {}),
  },
  'a ParseComplete is made up in a failed transaction': {
    server: (server) => {
      const { send, talk } = server
      server.send = (framer) => {
        const { status } = talk
        if (framer.type === FromClient.Parse && status === Status.Failed) talk.status = Status.Idle
        const sent = send.call(server, framer)
        if (talk.status === Status.Idle) talk.status = status
        return sent
      }
    },
  },
  'the unnamed statement of another client is used': {
    server: (server) => {
      const { send, talk } = server
      server.send = (framer) => {
        talk.unnamedOf = server.lessee?.session ?? null
        talk.unnamedVersion = talk.unnamedOf?.unnamedVersion ?? 0
        return send.call(server, framer)
      }
    },
  },
  'settings are not brought along': {
    server: (server) => {
      const { lease } = server
      server.lease = (lessee) => {
        server.talk.settings = lessee.session.settings
        lease.call(server, lessee)
      }
    },
  },
  'a cancel does not hold the server': {
    server: ({ talk }) => {
      Object.defineProperty(talk, 'cancels', { get: () => 0, set: () => {} })
    },
  },
  'a cancel is over before Postgres says so': {
    server: (server) => {
      const { cancel } = server
      server.cancel = (onOver) => {
        cancel.call(server, () => {})
        server.talk.cancels = 0
        onOver()
      }
    },
  },
  'a client leaves without a rollback': {
    server: (server) => {
      const { abandon, talk } = server
      server.abandon = (how) => {
        if (talk.replies.size === 0) talk.status = Status.Idle
        abandon.call(server, how)
      }
    },
  },
  'what was owed to a client that left is forgotten': {
    server: (server) => {
      const { abandon, talk } = server
      server.abandon = (how) => {
        while (talk.replies.size > 0) talk.replies.shift()
        talk.exchanges = 0
        abandon.call(server, how)
      }
    },
  },
  'a half batch is ended with Sync when its client leaves': {
    server: (server) => {
      const { abandon, talk } = server
      server.abandon = (how) => {
        if (talk.isBatchOpen && talk.restOut === 0) {
          server.out.write(SYNC)
          talk.replies.push(Reply.Sync, null)
          talk.exchanges++
          talk.isBatchOpen = false
        }
        abandon.call(server, how)
      }
    },
  },
  'a statement is there before its ParseComplete': {
    server: ({ talk }) => {
      const { replies, statements } = talk
      const [push, remove] = [replies.push.bind(replies), statements.delete.bind(statements)]
      const early = new Set<number>()
      replies.push = (code, ref) => {
        const definition = (ref as { definition?: Definition } | null)?.definition
        if ((code & REPLY_KIND) === Reply.Parse && definition !== undefined) {
          early.add(definition.id)
          statements.add(definition)
        }
        return push(code, ref)
      }
      // The Close in front of the Parse does not count, either.
      statements.delete = (id) => {
        if (!early.delete(id)) remove(id)
      }
    },
  },
  'every statement is there': {
    install: (patch) => patch(ServerStatements.prototype, 'has', () => () => true),
  },
  'texts are told apart by their length': {
    install: (patch) =>
      patch(Registry.prototype, 'acquire', (before: Registry['acquire']) => {
        const firsts = new WeakMap<Registry, Map<number, Buffer>>()
        return function (
          this: Registry,
          body: Buffer,
          ...more: [number, (body: Buffer) => Effects]
        ): Definition | null {
          const known = firsts.get(this) ?? new Map<number, Buffer>()
          firsts.set(this, known)
          if (!known.has(body.length)) known.set(body.length, Buffer.from(body))
          return before.call(this, known.get(body.length)!, ...more)
        }
      }),
  },
  'DISCARD ALL and DEALLOCATE ALL are not noticed': {
    install: (patch) => {
      patch(ServerStatements.prototype, 'clear', () => () => {})
      patch(ClientStatements.prototype, 'clear', () => () => {})
    },
  },
  'names that were lost with a server stay under way': {
    install: (patch) => patch(ClientStatements.prototype, 'withdrawAll', () => () => {}),
  },
  'a made-up answer does not wait for its turn': {
    server: (server) => {
      const push = server.talk.replies.push.bind(server.talk.replies)
      server.talk.replies.push = (code, ref) => {
        if ((code & Fate.Insert) === 0 || server.talk.replies.size === 0) return push(code, ref)
        server.lessee?.deliver(Buffer.from([(code & REPLY_KIND) === Reply.Parse ? 0x31 : 0x33, 0, 0, 0, 4]))
        return true
      }
    },
  },
  'nobody minds a client that does not read': {
    install: (patch) =>
      patch(Client.prototype, 'deliver', (before: Client['deliver']) => {
        return function (this: Client, bytes: Buffer): boolean {
          before.call(this, bytes)
          return true
        }
      }),
  },
  'a server that was paused is not resumed': {
    install: (patch) => patch(Client.prototype, 'onDrain', () => () => {}),
  },
  'bytes that were held are handed over in another order': {
    install: (patch) =>
      patch(Held.prototype, 'add', () => {
        return function (this: Held, chunk: Buffer): void {
          const before = this.take()
          this.start(Buffer.concat([chunk, before]))
        }
      }),
  },
  'a transaction is over when its COPY begins': {
    server: ({ talk }) => {
      Object.defineProperty(talk, 'copy', { get: () => 0, set: () => {} })
    },
  },
  'a lost server is said to have done everything': {
    install: (patch) =>
      patch(Client.prototype, 'onServerLost', (before: Client['onServerLost']) => {
        return function (this: Client, loss: Parameters<Client['onServerLost']>[0]): void {
          before.call(this, { ...loss, exchanges: Math.max(0, loss.exchanges - 1) })
        }
      }),
  },
  'a request that is given up leaves its server as it is': {
    server: (server) => {
      const { abandon } = server
      server.abandon = (how) => {
        const once = server.lessee?.session.once ?? null
        if (once !== null && how === 'cut') once.isClean = true
        abandon.call(server, how)
      }
    },
  },
  'a server is released before its reset was answered': {
    server: (server) => {
      const { talk } = server
      Object.defineProperty(talk, 'isFree', {
        get: () => {
          const isAnswered = talk.status === Status.Idle && talk.exchanges === 0 && !talk.isBatchOpen
          const isOfRequest = server.lessee !== null && server.lessee.session.once !== null
          return isOfRequest ? isAnswered : isAnswered && talk.replies.size === 0 && talk.restOut === 0
        },
      })
      const { lease } = server
      server.lease = (lessee) => {
        const { once } = lessee.session
        if (once !== null) Object.defineProperty(once, 'isClean', { get: () => true, set: () => {} })
        lease.call(server, lessee)
      }
    },
  },
  'what a session has set is not read back': {
    server: ({ talk }) => {
      Object.defineProperty(talk, 'touched', { get: () => 0, set: () => {} })
    },
  },
  'what a session has set is not brought along unless Postgres reports it': {
    install: (patch) =>
      patch(Settings.prototype, 'changesFrom', (before: Settings['changesFrom']) => {
        return function (this: Settings, from: Settings) {
          return before.call(this, from).filter(([name]) => REPORTED[name.toLowerCase()] !== undefined)
        }
      }),
  },
  'who has all of an answer does not read on': {
    install: (patch) =>
      patch(Run.prototype, 'write', (before: Run['write']) => {
        return function (this: Run, bytes: Uint8Array): boolean {
          const wasBlocked = (this.handler as Client).watch.blockedSince
          const takesMore = before.call(this, bytes)
          if (wasBlocked > 0) (this.handler as Client).watch.blockedSince = wasBlocked
          return takesMore
        }
      }),
  },
}

/** Seeds to begin with for bugs that few worlds show; the others are searched all the same. */
export const FOUND_BY: Readonly<Record<string, number>> = {
  'a ParseComplete is made up in a failed transaction': 171,
  'a cancel does not hold the server': 46,
  'a client leaves without a rollback': 382,
  'a half batch is ended with Sync when its client leaves': 77,
  'a statement is there before its ParseComplete': 114,
  'DISCARD ALL and DEALLOCATE ALL are not noticed': 19,
  'names that were lost with a server stay under way': 38,
  'a made-up answer does not wait for its turn': 36,
  'nobody minds a client that does not read': 33,
  'a request that is given up leaves its server as it is': 94,
  'what a session has set is not brought along unless Postgres reports it': 41,
  'who has all of an answer does not read on': 104,
}

/** Runs with a planted bug, and takes it back whatever happens. */
export function withPlanted<T>(bug: PlantedBug, run: () => T): T {
  const undo: (() => void)[] = []
  bug.install?.((target, name, make) => {
    const before = Object.getOwnPropertyDescriptor(target, name)!
    Object.defineProperty(target, name, { ...before, value: make(before.value as never) })
    undo.push(() => Object.defineProperty(target, name, before))
  })
  try {
    return run()
  } finally {
    for (const step of undo) step()
  }
}
