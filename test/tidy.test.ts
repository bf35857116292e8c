// The house rules as a test. Each complaint is `file:line: what is wrong; what to do`. Rules about names and
// shapes work on the syntax tree, so that comments and texts do not trip them. It changes nothing.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  folderOf,
  isReference,
  listFiles,
  ROOT,
  readSource,
  type SourceFile,
  type SyntaxNode,
  targetOf,
} from './support/source-files.ts'

const MAX_LINE = 110
const MAX_FILE = 400
const MAX_FUNCTION = 60
const MAX_PARAMETERS = 4

/** Shapes that every folder above wire/ and sql/ may know. */
const SHARED = ['util', 'wire', 'sql', 'config/types.ts']
const CORE = [...SHARED, 'auth', 'session', 'pool', 'observe/counters.ts']
const UPPER = [...CORE, 'backend', 'frontend', 'config', 'observe', 'net']

/** What the composition root is made of, besides folders. */
const BESIDES = [
  ...['house.ts', 'house-rules.ts', 'health.ts', 'reload.ts', 'listeners.ts', 'certificates.ts'],
  'server-events.ts',
  'membership.ts',
]

/** Folder (or file) below src/ -> what it may import, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  util: [],
  wire: ['util'],
  sql: ['util'],
  config: ['util', 'wire'],
  net: ['util', 'wire', 'config/types.ts'],
  observe: ['util', 'wire', 'config/types.ts'],
  embedded: ['util', 'config/types.ts'],
  auth: SHARED,
  session: SHARED,
  pool: [...SHARED, 'session', 'observe/counters.ts'],
  backend: CORE,
  frontend: CORE,
  routing: UPPER,
  tracing: [...UPPER],
  serverless: [...UPPER, 'routing'],
  admin: [...UPPER, 'routing'],
  'house.ts': UPPER,
  'health.ts': ['house.ts', 'observe', 'routing'],
  'reload.ts': ['config', 'observe'],
  'house-rules.ts': [...UPPER, 'house.ts', 'reload.ts', 'routing'],
  'membership.ts': ['admin', 'backend', 'frontend', 'pool'],
  'listeners.ts': ['config/types.ts', 'net', 'wire'],
  'certificates.ts': ['config/types.ts', 'observe', 'util'],
  'pooler.ts': [...UPPER, ...BESIDES, 'routing', 'serverless', 'admin', 'embedded', 'tracing'],
  'server-events.ts': [...UPPER, 'routing', 'membership.ts'],
  library: [...UPPER, 'routing', 'pooler.ts', 'server-events.ts', 'reload.ts'],
  'index.ts': ['pooler.ts', 'listeners.ts', 'reload.ts', 'library', 'config', 'observe', 'util'],
  workers: [...UPPER, 'routing', 'admin', 'listeners.ts', 'membership.ts', 'pooler.ts', 'reload.ts'],
  cli: [...UPPER, 'routing', 'embedded', 'admin', 'pooler.ts', 'serverless/jwks.ts', 'workers'],
  'main.ts': [...UPPER, 'routing', 'embedded', 'pooler.ts', 'cli'],
}

const NETWORK_MODULES = /^(node:(net|tls|http|https|http2|dgram)|net|tls|http|https|http2|dgram|ws)(\/|$)/
const FUNCTION_TYPES =
  /^(Function(Declaration|Expression)|ArrowFunctionExpression|(Object|Class|ClassPrivate)Method)$/
const PURE_FOLDERS = ['wire', 'sql', 'session', 'pool', 'auth']
const IMPURE_NAMES = [
  'Date',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'process',
  'performance',
  'globalThis',
]
/** Node's modules that the pure folders may import. */
const PURE_MODULES: Readonly<Record<string, readonly string[]>> = {
  wire: ['node:assert', 'node:buffer'],
  sql: ['node:assert', 'node:buffer'],
  session: ['node:assert'],
  pool: ['node:assert'],
  auth: ['node:assert', 'node:crypto'],
}

const sources = listFiles('src', /(?<!\.d)\.ts$/).map(readSource)
/** The dashboard: JavaScript for browsers, which nothing in src/ imports. */
const pageFiles = listFiles('src/admin/page', /\.js$/).map(readSource)
const tests = [...listFiles('test', /\.ts$/), ...listFiles('bench', /\.ts$/)].map(readSource)
const byPath = new Map(sources.map((file) => [file.path, file]))
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

function check(problems: string[]): void {
  if (problems.length > 0) assert.fail(`${problems.length} to mend:\n${problems.join('\n')}`)
}

/** One complaint for each place in `files` where `find` says something. */
function complain(
  files: readonly SourceFile[],
  find: (entry: SourceFile['nodes'][number], file: SourceFile) => string | null,
): string[] {
  const problems = new Set<string>()
  for (const file of files) {
    for (const entry of file.nodes) {
      const text = find(entry, file)
      if (text !== null) problems.add(`${file.path}:${entry.node.loc.start.line}: ${text}`)
    }
  }
  return [...problems]
}

describe('imports', () => {
  it('go in the allowed direction', () => {
    const problems: string[] = []
    for (const file of sources) {
      const folder = folderOf(file.path)
      const allowed = MAY_IMPORT[folder]
      if (allowed === undefined) {
        problems.push(`${file.path}:1: src/${folder} is not in MAY_IMPORT of test/tidy.test.ts; add its rule`)
        continue
      }
      for (const { from, line } of file.imports) {
        const target = targetOf(file, from)
        if (target === null) continue
        const other = folderOf(target)
        if (other === folder || allowed.includes(other) || allowed.includes(target.slice(4))) continue
        problems.push(
          `${file.path}:${line}: ${folder} may not import ${target.slice(4)}; it may import ` +
            `${allowed.join(', ') || 'nothing'}: have it given, or move the shared part down`,
        )
      }
    }
    check(problems)
  })

  it('name a file that exists, with its extension, or a declared package', () => {
    const packages = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
    const problems: string[] = []
    for (const file of sources) {
      for (const { from, line } of file.imports) {
        const target = targetOf(file, from)
        if (target !== null && !byPath.has(target) && !existsSync(join(ROOT, target))) {
          problems.push(`${file.path}:${line}: ${from} does not exist; write ./name.ts`)
        }
        const known = from.startsWith('node:') || packages.some((name) => `${from}/`.startsWith(`${name}/`))
        if (target === null && !known) {
          problems.push(`${file.path}:${line}: ${from} is not in dependencies (or lacks node:); add it there`)
        }
      }
    }
    check(problems)
  })

  it('make no circle between files', () => {
    const done = new Set<string>()
    const problems = new Set<string>()
    // Types leave no trace at run time: only values can meet each other half made.
    const visit = (path: string, trail: readonly string[]): void => {
      const seen = trail.indexOf(path)
      if (seen >= 0) {
        const text = [...trail.slice(seen), path].join(' -> ')
        problems.add(`${path}:1: circle ${text}; move what they share into a file of its own`)
      }
      if (seen >= 0 || done.has(path)) return
      const file = byPath.get(path)
      for (const { from, typeOnly } of file?.imports ?? []) {
        const target = typeOnly ? null : targetOf(file!, from)
        if (target !== null) visit(target, [...trail, path])
      }
      done.add(path)
    }
    for (const file of sources) visit(file.path, [])
    check([...problems])
  })

  it('reach every file from src/main.ts or src/index.ts', () => {
    const reached = new Set<string>()
    const visit = (path: string): void => {
      const file = byPath.get(path)
      if (file === undefined || reached.has(path)) return
      reached.add(path)
      for (const { from } of file.imports) {
        const target = targetOf(file, from)
        if (target !== null) visit(target)
      }
    }
    visit('src/main.ts')
    // Started as a process of its own.
    visit('src/cli/worker.ts')
    visit('src/index.ts')
    const dead = sources.filter((file) => !reached.has(file.path))
    check(dead.map((file) => `${file.path}:1: nothing that runs imports this file; use it or delete it`))
  })

  it('leave the network to src/net', () => {
    const outside = sources.filter((file) => folderOf(file.path) !== 'net')
    const problems = outside.flatMap((file) =>
      file.imports
        .filter(({ from }) => NETWORK_MODULES.test(from))
        .map(
          ({ from, line }) => `${file.path}:${line}: only src/net may import ${from}; use what net/ offers`,
        ),
    )
    check(problems)
  })
})

describe('pure folders', () => {
  const pure = sources.filter((file) => PURE_FOLDERS.includes(folderOf(file.path)))

  it('know no clock, chance or process', () => {
    const problems = complain(pure, (entry, file) => {
      const { node, parent } = entry
      const name = String(node.name)
      const chance = name === 'Math' && (parent?.property as SyntaxNode | undefined)?.name === 'random'
      if (!isReference(entry) || !(IMPURE_NAMES.includes(name) || chance)) return null
      if (file.declared.has(name)) return null
      return `${chance ? 'Math.random' : name} in a pure folder; take a Clock or Random from util/env.ts`
    })
    check(problems)
  })

  it('import only harmless modules of Node', () => {
    const problems = pure.flatMap((file) => {
      const allowed = PURE_MODULES[folderOf(file.path)]!
      const wrong = file.imports.filter(
        ({ from }) => from.startsWith('node:') && !allowed.some((name) => `${from}/`.startsWith(`${name}/`)),
      )
      return wrong.map(
        ({ from, line }) =>
          `${file.path}:${line}: ${folderOf(file.path)} may not import ${from} (only ${allowed.join(', ')})`,
      )
    })
    check(problems)
  })
})

describe('shape', () => {
  const all = [...sources, ...pageFiles, ...tests]

  it('files and lines are short', () => {
    const problems: string[] = []
    for (const file of all) {
      const count = file.lines.length - (file.lines.at(-1) === '' ? 1 : 0)
      if (count > MAX_FILE)
        problems.push(`${file.path}:${MAX_FILE}: ${count} lines (${MAX_FILE}); split the file`)
      for (const [i, line] of file.lines.entries()) {
        if (line.length <= MAX_LINE) continue
        problems.push(`${file.path}:${i + 1}: ${line.length} characters (${MAX_LINE}); break the line`)
      }
    }
    check(problems)
  })

  it('functions are short and take few parameters', () => {
    const problems = complain([...sources, ...pageFiles], ({ node }) => {
      if (!FUNCTION_TYPES.test(node.type)) return null
      const length = node.loc.end.line - node.loc.start.line + 1
      const parameters = (node.params as SyntaxNode[]).filter((parameter) => parameter.name !== 'this').length
      if (length > MAX_FUNCTION)
        return `a function of ${length} lines (${MAX_FUNCTION}); take a step out of it`
      if (parameters > MAX_PARAMETERS) {
        return `${parameters} parameters (${MAX_PARAMETERS}); put what belongs together into an object`
      }
      return null
    })
    check(problems)
  })

  it('each source file begins with a comment', () => {
    const bare = [...sources, ...pageFiles].filter((file) => {
      const first = file.lines[0]!.startsWith('#!') ? file.lines[1] : file.lines[0]
      return first === undefined || !/^(\/\/|\/\*)/.test(first)
    })
    check(bare.map((file) => `${file.path}:1: no comment; say what the file owns and what it must never do`))
  })

  it('nothing is typed any', () => {
    check(
      complain(all, ({ node }) => (node.type === 'TSAnyKeyword' ? 'any; use the type, or unknown' : null)),
    )
  })

  it('nothing but the command line writes to the console', () => {
    const quiet = sources.filter((file) => !/^src\/(main\.ts|cli\/)/.test(file.path))
    const problems = complain(quiet, (entry) =>
      isReference(entry) && entry.node.name === 'console' ? 'console; use the log that is given' : null,
    )
    check(problems)
  })
})

describe('texts', () => {
  const folders = ['src', 'test', 'bench', 'bin', 'docs', 'examples', 'docker', '.ci']
  const rootFiles = readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(md|yaml|yml|json|js|ts)$/.test(entry.name))
    .map((entry) => entry.name)
  const named = folders.flatMap((folder) =>
    listFiles(folder, /(\.(md|yaml|yml|json|js|mjs|ts|sh|html|css)|file)$/i),
  )
  const texts = [...named, ...rootFiles].filter((path) => path !== 'package-lock.json')

  function grep(pattern: RegExp, advice: string): string[] {
    return texts.flatMap((path) =>
      readFileSync(join(ROOT, path), 'utf8')
        .split('\n')
        .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${advice}`] : [])),
    )
  }

  it('name no folder of one machine', () => {
    const folder = ['work', 'root', 'home'].join('|')
    check(
      grep(new RegExp(`(^|[^\\w.}])/(${folder})/`), 'a path of one machine; use a relative or temporary one'),
    )
  })

  it('put nothing off', () => {
    const words = ['TO', 'FIX'].map((word, i) => word + ['DO', 'ME'][i]).join('|')
    check(grep(new RegExp(`\\b(${words})\\b`), 'do it now, or write down in docs/ why it is not done'))
  })
})

describe('options', () => {
  it('are all used', () => {
    const path = 'src/config/types.ts'
    const used = new Set<unknown>()
    for (const file of sources) {
      if (folderOf(file.path) === 'config') continue
      for (const { node } of file.nodes) if (node.type === 'Identifier') used.add(node.name)
    }
    const problems = complain([byPath.get(path)!], ({ node }) => {
      const name = (node.key as SyntaxNode | undefined)?.name
      if (node.type !== 'TSPropertySignature' || used.has(name)) return null
      return `nothing outside src/config reads ${name}; use it, or take the option out`
    })
    check(problems)
  })
})
