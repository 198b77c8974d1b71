import { type Command, type Io, parse } from "./command.ts";
import { adapterCommands } from "./commands/adapters.ts";
import { jobCommands } from "./commands/jobs.ts";
import { replayCommand } from "./commands/replay.ts";
import { CliError } from "./failure.ts";

const commands: Record<string, Command> = { ...jobCommands, ...adapterCommands, replay: replayCommand };

/** The exit status: 0 done, 1 it failed, 2 it was asked wrongly. */
export async function main(args: string[], env: Record<string, string | undefined>): Promise<number> {
  const io: Io = {
    out: (text) => process.stdout.write(`${text}\n`),
    tell: (text) => process.stderr.write(`${text}\n`),
    env,
  };
  if (args.length === 0 || args[0] === "help" || args[0] === "--help" || args[0] === "-h") {
    io.out(help());
    return args.length === 0 ? 2 : 0;
  }
  try {
    const [name, command] = find(args);
    const rest = args.slice(name.split(" ").length);
    if (rest.includes("--help") || rest.includes("-h")) {
      io.out(`grove ${command.usage}\n\n${command.about}`);
      return 0;
    }
    return await command.run(parse(command, rest), io);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    io.tell(`grove: ${error.message}`);
    if (error.advice !== null) io.tell(error.advice);
    return error.usage ? 2 : 1;
  }
}

function find(args: string[]): [string, Command] {
  for (const length of [2, 1]) {
    const name = args.slice(0, length).join(" ");
    const command = commands[name];
    if (command !== undefined) return [name, command];
  }
  const known = Object.keys(commands).join(", ");
  throw new CliError(`There is no command ${JSON.stringify(args.slice(0, 2).join(" "))}.`, {
    advice: `Commands: ${known}. \`grove help\` tells more.`,
    usage: true,
  });
}

function help(): string {
  const lines = Object.values(commands).map(({ usage, about }) => `  grove ${usage}\n      ${about}`);
  return [
    "grove: Grove from the command line, over its REST API.",
    "",
    ...lines,
    "",
    "GROVE_URL is the gateway's address, GROVE_TOKEN an API token. --json prints what a program can read.",
    "Exit status: 0 done, 1 failed, 2 asked wrongly.",
  ].join("\n");
}
