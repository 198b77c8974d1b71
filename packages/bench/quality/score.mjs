// The product's metric of each [answer, reference] pair on stdin: `node --import tsx score.mjs accuracy|rouge_l`.
import { text } from "node:stream/consumers";
import { trimAnswer } from "../../core/src/evals/answer.ts";
import { pickScore, scoreAnswer } from "../../core/src/evals/metrics.ts";

const pairs = JSON.parse(await text(process.stdin));
const singleLine = pairs.every(([, reference]) => !reference.includes("\n"));
const score = ([answer, reference]) =>
  pickScore(process.argv[2], scoreAnswer(trimAnswer(answer, singleLine), reference));
console.log(JSON.stringify(pairs.map(score)));
