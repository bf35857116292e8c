// `pgmux import FILE.ini`: writes a config.yaml to standard output, and what one should know to standard
// error.
import { importIni } from '../config/import/import.ts'

/**
 * @returns the exit code. @throws ImportError one sentence, where the file is broken; nothing is printed
 * then
 */
export function importFile(file: string): number {
  const { yaml, warnings } = importIni(file)
  for (const warning of warnings) process.stderr.write(`pgmux: warning: ${warning}\n`)
  process.stdout.write(yaml)
  return 0
}
