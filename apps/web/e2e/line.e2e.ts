import { accountSteps } from "./account-steps";
import { runLine } from "./line";
import { trainSteps } from "./train-steps";
import { useSteps } from "./use-steps";

const passed = await runLine([...accountSteps, ...trainSteps, ...useSteps]);
process.exitCode = passed ? 0 : 1;
