import type { DatasetProfile } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { hasRightAnswers } from "@grove/contracts/evals";
import { isServed, type JobConfig } from "@grove/contracts/jobs";

type Checked = Result<null, "config_invalid">;

/** Hyperparameters that do not go together, or not with the rows. */
export function checkMethod(config: JobConfig, { splitRows }: Pick<DatasetProfile, "splitRows">): Checked {
  const method = checkPreferences(config);
  if (!method.ok) return method;
  return checkScoring(config, splitRows.validation);
}

function checkPreferences({ dataKind, hyperparameters }: JobConfig): Checked {
  const { method, neftuneAlpha } = hyperparameters;
  const isPreference = dataKind === "preference";
  if (isPreference === (method === "sft"))
    return fail(
      "config_invalid",
      isPreference
        ? "Preferences are learnt with the method dpo or orpo."
        : `The method ${method} learns from preferences: choose a column with the answers that are not wanted.`,
      { field: isPreference ? "config.hyperparameters.method" : "config.dataKind" },
    );
  if (method !== "sft" && neftuneAlpha > 0)
    return wrong("neftuneAlpha", "NEFTune's noise does not go with preferences: set it to 0.");
  return ok(null);
}

/** Checkpoints are scored by what the engine answers with them. */
function checkScoring(config: JobConfig, validationRows: number): Checked {
  const { scoreRows, stopOnScore } = config.hyperparameters;
  if ((scoreRows > 0 || stopOnScore !== null) && !isServed(config))
    return wrong(
      stopOnScore === null ? "scoreRows" : "stopOnScore",
      "The engine does not serve DoRA adapters, so their checkpoints cannot answer: do not have their answers checked, or turn DoRA off.",
    );
  if (stopOnScore === null) return ok(null);
  if (!hasRightAnswers(config))
    return wrong(
      "stopOnScore",
      "A score needs a column of right answers, which conversations and plain text do not have. Stop early by the validation loss instead.",
    );
  if (scoreRows === 0)
    return wrong(
      "stopOnScore",
      "To stop by the score, checkpoints must be scored: set the answers checked (scoreRows) to 1 or more; 50 are a good start.",
    );
  if (validationRows === 0)
    return wrong(
      "stopOnScore",
      "The data set has no validation rows for checkpoints to answer. Mark some in a split column, or do not stop by the score.",
    );
  return ok(null);
}

function wrong(knob: keyof JobConfig["hyperparameters"], message: string): Checked {
  return fail("config_invalid", message, { field: `config.hyperparameters.${knob}` });
}
