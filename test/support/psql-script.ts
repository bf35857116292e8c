// Cuts a psql script into statements, with a lexer of its own (written from psql's rules, not from src/sql,
// so that the two can be compared). Commands of psql and COPY data are left out, variables become words.

export interface ScriptStatement {
  readonly text: string
  /** standard_conforming_strings, as the script's own SET statements leave it. */
  readonly standard: boolean
  readonly line: number
}

const DOLLAR_TAG = /\$([A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y
const VARIABLE = /:(['"]?)([A-Za-z_][A-Za-z0-9_]*)\1/y
const COMMAND = /\\([a-z!?;]+)?[^\n]*/y

/** @param script as latin1 text, one char a byte */
export function* statementsOf(script: string): Generator<ScriptStatement> {
  yield* new Splitter(script).run()
}

class Splitter {
  readonly #script: string
  #at = 0
  #text = ''
  #from = 0
  #depth = 0
  /** BEGIN .. END of a function's body, CASE .. END in it. */
  #blocks = 0
  #words: string[] = []
  #standard = true
  #last = ''

  constructor(script: string) {
    this.#script = script
  }

  *run(): Generator<ScriptStatement> {
    while (this.#at < this.#script.length) {
      const char = this.#script[this.#at]
      if (char === '\\') {
        const name = this.#match(COMMAND)[1] ?? ''
        if (name.startsWith('g') || name === ';' || name === 'crosstabview' || name === 'watch')
          yield* this.#end()
        if (name === 'r' || name === 'gdesc') this.#reset()
      } else if (char === ';' && this.#depth === 0 && this.#blocks === 0) {
        this.#at++
        yield* this.#end()
      } else {
        this.#token(char)
      }
    }
    yield* this.#end()
  }

  #token(char: string): void {
    const two = this.#script.substr(this.#at, 2)
    if (char === "'") this.#take(this.#stringEnd(!this.#standard))
    else if (char === '"') this.#take(this.#script.indexOf('"', this.#at + 1) + 1)
    else if (two === '--') this.#skip('\n')
    else if (two === '/*') this.#comment()
    else if (char === '$' && this.#isDollar()) this.#dollar()
    else if (/[eE]'/.test(two)) this.#take(this.#stringEnd(true, 2))
    else if (/[bBxX]'/.test(two)) this.#take(this.#stringEnd(false, 2))
    else if (/[A-Za-z_\u0080-\uffff]/.test(char)) this.#word()
    else if (two === '::' || two === ':=') this.#take(this.#at + 2)
    else if (char === ':') this.#variable()
    else {
      if (char === '(') this.#depth++
      if (char === ')' && this.#depth > 0) this.#depth--
      this.#take(this.#at + 1)
    }
  }

  #take(end: number): void {
    const stop = end <= this.#at ? this.#script.length : end
    if (this.#text.trim() === '') this.#from = this.#at
    this.#text += this.#script.slice(this.#at, stop)
    this.#at = stop
  }

  #match(pattern: RegExp): RegExpExecArray {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#script)!
    this.#at = pattern.lastIndex
    return found
  }

  #skip(to: string): void {
    const end = this.#script.indexOf(to, this.#at)
    this.#at = end < 0 ? this.#script.length : end
  }

  #comment(): void {
    let depth = 0
    do {
      const next = /\/\*|\*\//g
      next.lastIndex = this.#at
      const found = next.exec(this.#script)
      if (found === null) break
      depth += found[0] === '/*' ? 1 : -1
      this.#at = next.lastIndex
    } while (depth > 0)
    this.#text += ' '
  }

  /** Strings that go on in another line are taken part by part, each with the same rule. */
  #stringEnd(backslashes: boolean, prefix = 1): number {
    let at = this.#at + prefix
    for (;;) {
      const quote = this.#script.indexOf("'", at)
      if (quote < 0) return -1
      const slash = backslashes ? this.#script.indexOf('\\', at) : -1
      if (slash >= 0 && slash < quote) at = slash + 2
      else if (this.#script[quote + 1] === "'") at = quote + 2
      else {
        const more = /^[ \t]*(--[^\n]*)?\n(\s|--[^\n]*\n)*'/.exec(this.#script.slice(quote + 1, quote + 400))
        if (more === null) return quote + 1
        at = quote + 1 + more[0].length
      }
    }
  }

  #isDollar(): boolean {
    DOLLAR_TAG.lastIndex = this.#at
    return DOLLAR_TAG.test(this.#script)
  }

  #dollar(): void {
    const from = this.#at
    const [tag] = this.#match(DOLLAR_TAG)
    const end = this.#script.indexOf(tag, this.#at)
    this.#at = from
    this.#take(end < 0 ? -1 : end + tag.length)
  }

  #word(): void {
    const from = this.#at
    const word = this.#match(WORD)[0].toLowerCase()
    this.#at = from
    if (this.#words.length < 4) this.#words.push(word)
    const isRoutine = this.#words[0] === 'create' && /function|procedure/.test(this.#words.join(' '))
    if (isRoutine && this.#last === 'begin' && word === 'atomic') this.#blocks++
    else if (this.#blocks > 0 && word === 'case') this.#blocks++
    else if (this.#blocks > 0 && word === 'end') this.#blocks--
    this.#last = word
    this.#take(from + word.length)
  }

  #variable(): void {
    VARIABLE.lastIndex = this.#at
    const found = VARIABLE.exec(this.#script)
    if (found === null) {
      this.#take(this.#at + 1)
      return
    }
    this.#at = VARIABLE.lastIndex
    // A variable that is a whole statement says nothing.
    if (this.#text.trim() === '' && found[1] === '') return
    this.#text += `${found[1]}${found[2]}${found[1]}`
  }

  *#end(): Generator<ScriptStatement> {
    const text = this.#text.trim()
    const line = this.#script.slice(0, this.#from).split('\n').length
    this.#reset()
    if (text === '') return
    yield { text, standard: this.#standard, line }
    const change = /^(?:re)?set\s+standard_conforming_strings\b(.*)/i.exec(text)
    if (change !== null) this.#standard = !/off/i.test(change[1])
    if (/^copy\b[\s\S]*\bfrom\s+stdin\b/i.test(text)) this.#data()
  }

  #reset(): void {
    this.#text = ''
    this.#depth = 0
    this.#blocks = 0
    this.#words = []
    this.#last = ''
  }

  /** COPY data, up to its end in a line of its own. */
  #data(): void {
    const end = /^\\\.$/m
    const found = end.exec(this.#script.slice(this.#at))
    this.#at = found === null ? this.#script.length : this.#at + found.index + 2
  }
}
