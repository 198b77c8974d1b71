/** A schema's complaint about a number, in words for a form. */
export function readable(message: string): string {
  if (/NaN/.test(message)) return "Write a number.";
  if (/expected int/.test(message)) return "Write a whole number.";
  const low = /expected \w+ to be >(=?)(-?[\d.e-]+)/.exec(message);
  if (low) return `Must be ${low[1] === "=" ? "at least" : "more than"} ${low[2]}.`;
  const high = /expected \w+ to be <(=?)(-?[\d.e-]+)/.exec(message);
  if (high) return `Must be ${high[1] === "=" ? "at most" : "less than"} ${high[2]}.`;
  return message;
}
