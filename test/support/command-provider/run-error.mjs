/** What a failed command says: the same words, and the same quoting, as the official provider. */

const ESCAPES = new Map([
  ["\x07", "\\a"],
  ["\b", "\\b"],
  ["\f", "\\f"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ["\v", "\\v"],
  ['"', '\\"'],
  ["\\", "\\\\"],
]);

const hex = (code, digits) => code.toString(16).padStart(digits, "0");

/** Go's `%q`: a double-quoted string with Go's escapes. Printable Unicode stays as it is. */
export function goQuote(text) {
  let quoted = "";
  for (const char of text) {
    const code = char.codePointAt(0);
    if (ESCAPES.has(char)) quoted += ESCAPES.get(char);
    else if (code < 0x20 || code === 0x7f) quoted += `\\x${hex(code, 2)}`;
    else if (char === " " || /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(char)) quoted += char;
    else quoted += code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
  }
  return `"${quoted}"`;
}

/**
 * The error of a command that ran and failed. It carries the whole command string and everything the
 * command printed, but never its stdin.
 */
export function runError(reason, command, output) {
  return new Error(`${reason}: running ${goQuote(command)}:\n${output}`);
}

/** The outputs drop one final line break, no more. */
export const withoutFinalNewline = (text) => (text.endsWith("\n") ? text.slice(0, -1) : text);
