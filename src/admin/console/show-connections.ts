// SHOW CLIENTS, SERVERS and SOCKETS: a row for each connection of this moment. Reads; changes nothing. The
// lists are copied first: rows are sent as the operator's client takes them, and the lists change meanwhile.
import type { Server } from '../../backend/server.ts'
import type { Client } from '../../frontend/client.ts'
import type { HubConnection } from '../../routing/hubs.ts'
import type { PoolEntry } from '../../routing/pool-entry.ts'
import type { Column, Value } from '../../wire/rows.ts'
import { columns, instant, secondsAndMicros } from './columns.ts'
import { idOf, pointerOf } from './ids.ts'
import type { Command, ConsoleClient, Operator } from './types.ts'

const CONNECTION: readonly Column[] = columns(
  'text: type user database replication state addr, int4: port, text: local_addr, int4: local_port, ' +
    'text: connect_time request_time, int4: wait wait_us close_needed, text: ptr link, int4: remote_pid, ' +
    'text: tls application_name, int4: prepared_statements id',
)
const BUFFERS = columns('int4: recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail')

/** One connection: its row, and what waits in it to be sent. */
interface Line {
  row(): Value[]
  readonly unsent: number | null
  readonly isActive: boolean
}

function clientLine(client: Client, operator: Operator): Line {
  const { now } = operator.source.time
  const { stream, watch, visitor, session, server } = client
  const isAtWork = server !== null || client.shared !== null
  const state = isAtWork ? 'active' : client.isWaiting ? 'waiting' : 'idle'
  const row = (): Value[] => {
    const { peer } = stream
    const [wait, waitUs] = client.isWaiting ? secondsAndMicros(now - client.waitingSince) : [0, 0]
    const isOwn = client.hasOwnServer
    return [
      ...['C', visitor.user, visitor.database, isOwn ? 'physical' : 'none', state],
      ...[peer.address || 'unix', peer.port, null, operator.source.port],
      ...[instant(watch.connectedAt, now), instant(watch.lastDataAt, now), wait, waitUs, 0],
      ...[pointerOf(client), server === null ? '' : pointerOf(server), null, peer.encrypted ? 'TLS' : ''],
      ...[session.settings.values.get('application_name') ?? '', session.statements.size, idOf(client)],
    ]
  }
  return { row, unsent: stream.unsent, isActive: state !== 'idle' }
}

function consoleLine(client: ConsoleClient, operator: Operator): Line {
  const { now } = operator.source.time
  const { peer, visitor } = client
  const row = (): Value[] => [
    ...['C', visitor.user, visitor.database, 'none', 'active', peer.address || 'unix', peer.port],
    ...[null, operator.source.port, instant(client.connectedAt, now), instant(client.requestedAt, now)],
    ...[0, 0, 0, pointerOf(client), '', null, peer.encrypted ? 'TLS' : ''],
    ...[client.applicationName, client.preparedStatements, idOf(client)],
  ]
  return { row, unsent: client.unsent, isActive: true }
}

const SERVER_STATES = { opening: 'new', testing: 'tested', idle: 'idle', active: 'active', closed: 'closed' }

function serverLine(server: Server, entry: PoolEntry, operator: Operator): Line {
  const { now } = operator.source.time
  const { talk, peer } = server
  const state = talk.cancels > 0 ? 'being_canceled' : SERVER_STATES[server.state]
  const row = (): Value[] => [
    ...['S', entry.user, entry.database, entry.own.has(server) ? 'physical' : 'none', state],
    ...[peer?.address || entry.where, peer?.port ?? null, null, null],
    ...[instant(server.openedAt, now), instant(talk.busySince, now), 0, 0, server.isRetired ? 1 : 0],
    ...[
      pointerOf(server),
      server.lessee === null || server.lane !== null ? '' : pointerOf(server.lessee),
      server.pid,
    ],
    ...[peer?.encrypted === true ? 'TLS' : '', talk.settings?.values.get('application_name') ?? ''],
    ...[talk.statements.size, idOf(server)],
  ]
  return { row, unsent: null, isActive: server.state === 'active' }
}

/** It works for the clients of all pools of its database; what it shows is the pool through which it came. */
function listeningLine({ server, member }: HubConnection, operator: Operator): Line {
  const { now } = operator.source.time
  const opened = instant(server.openedAt, now)
  const row = (): Value[] => [
    ...['S', member.user, member.database, 'none', server.isOpen ? 'active' : 'new'],
    ...[server.peer?.address || member.where, server.peer?.port ?? null, null, null, opened, opened, 0, 0, 0],
    ...[pointerOf(server), '', server.pid, server.peer?.encrypted === true ? 'TLS' : ''],
    ...['pgmux listen', 0, idOf(server)],
  ]
  return { row, unsent: null, isActive: server.isOpen }
}

function clientLines(operator: Operator): Line[] {
  const { clients } = operator.source.house
  const lines = Array.from(clients, (client) => clientLine(client, operator))
  return [...lines, ...operator.sessions.map((session) => consoleLine(session, operator))]
}

function serverLines(operator: Operator): Line[] {
  const lines: Line[] = []
  for (const entry of operator.source.router.entries())
    for (const server of entry.servers()) lines.push(serverLine(server, entry, operator))
  for (const listening of operator.source.router.hubs?.connections() ?? [])
    lines.push(listeningLine(listening, operator))
  return lines
}

function* rowsOf(lines: readonly Line[]): Generator<Value[]> {
  for (const line of lines) yield line.row()
}

function* socketsOf(operator: Operator, isOnlyActive: boolean): Generator<Value[]> {
  for (const line of [...clientLines(operator), ...serverLines(operator)]) {
    if (isOnlyActive && !line.isActive) continue
    yield [...line.row(), null, null, null, null, line.unsent, null, null]
  }
}

export const CONNECTION_COMMANDS: readonly Command[] = [
  {
    name: 'SHOW CLIENTS',
    role: 'stats',
    takes: 'nothing',
    help: 'Connections of applications',
    columns: CONNECTION,
    rows: (operator) => rowsOf(clientLines(operator)),
  },
  {
    name: 'SHOW SERVERS',
    role: 'stats',
    takes: 'nothing',
    help: 'Connections to Postgres',
    columns: CONNECTION,
    rows: (operator) => rowsOf(serverLines(operator)),
  },
  {
    name: 'SHOW SOCKETS',
    role: 'stats',
    takes: 'nothing',
    help: 'Both, with what waits to be sent',
    columns: [...CONNECTION, ...BUFFERS],
    rows: (operator) => socketsOf(operator, false),
  },
  {
    name: 'SHOW ACTIVE_SOCKETS',
    role: 'stats',
    takes: 'nothing',
    help: 'Those of them that are in use',
    columns: [...CONNECTION, ...BUFFERS],
    rows: (operator) => socketsOf(operator, true),
  },
]
