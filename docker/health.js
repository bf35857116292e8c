// Whether the pgmux in this container is alive: /healthz of its admin port. Not /readyz: a Postgres that cannot be
// reached, or a drain, is no reason to start this container anew.
const port = process.env.PGMUX_ADMIN_PORT || '6490'
try {
  const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(2000) })
  process.exitCode = answer.ok ? 0 : 1
} catch {
  process.exitCode = 1
}
