// Runs the stream contract for everything that carries bytes.
import { setHandlerErrorReporter } from '../../../src/net/handler-errors.ts'
import { memoryPair } from '../../support/memory-stream.ts'
import { realPairs, tlsPairs, webPairs } from './pairs.ts'
import { streamContract } from './stream-contract.ts'

// The contract makes handlers throw on purpose.
setHandlerErrorReporter(() => {})

streamContract('memory', async () => {
  const [a, b] = memoryPair()
  return { a, b }
})
streamContract('memory, cut anywhere', async () => {
  let seed = 1
  const [a, b] = memoryPair({
    chunker: (queued) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return seed % queued.length
    },
  })
  return { a, b }
})
streamContract('tcp', realPairs('tcp'))
streamContract('unix', realPairs('unix'))
streamContract('tls', tlsPairs())
streamContract('websocket, what the client sends', webPairs('client'))
streamContract('websocket, what the server sends', webPairs('server'))
