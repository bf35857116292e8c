// Why a client keeps its server beyond its transactions, for people: what it has, by the reasons that the
// console names. Pure.

/** @type {Readonly<Record<string, string>>} */
export const PIN_WORDS = {
  temp: 'temporary objects',
  advisory_lock: 'an advisory lock',
  cursor: 'a cursor WITH HOLD',
  backend_state: 'state in the process of Postgres (LOAD, setseed, dblink)',
  sql_prepare: 'a statement prepared in SQL',
  listen: 'LISTEN',
  custom_setting: 'a setting whose name is not in the statement',
  privileged_setting: 'a setting that its user may not set',
  by_hand: 'asked for it (SET pgmux.pin = on)',
  large_statement: 'a prepared statement that is too long to be kept',
  custom_name: 'the name of a custom setting',
  sequence: 'a value of a sequence that it may ask for',
  session: 'session mode',
}

/**
 * `temporary objects, an advisory lock` for `temp, advisory_lock`.
 * @param {string} reasons
 */
export function pinsInWords(reasons) {
  const all = reasons.split(/,\s*/).filter((reason) => reason !== '')
  return all.map((reason) => PIN_WORDS[reason] ?? reason).join(', ')
}
