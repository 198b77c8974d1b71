"use client";
import type { DatasetView } from "@grove/contracts/datasets";
import type { CreateJobInput } from "@grove/contracts/jobs";
import { toSlug } from "@grove/contracts/names";
import type { BaseModelView } from "@grove/contracts/serving";
import type { CreateSweepInput } from "@grove/contracts/sweeps";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Field, Input, Select } from "@grove/ui/field";
import { Tabs } from "@grove/ui/tabs";
import { useMutation } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { TemplateEditor } from "@/features/datasets/template-editor";
import { LiveTemplatePreview } from "@/features/datasets/template-preview";
import { guessKind, startTemplate } from "@/features/datasets/template-values";
import { failureOf } from "@/features/shared/failure";
import { plural } from "@/features/shared/format";
import { useTRPC } from "@/features/shared/trpc";
import { checkGrid, emptyGrid } from "@/features/sweeps/grid-draft";
import { GridFields } from "@/features/sweeps/grid-fields";
import { HyperparameterFields } from "./hyperparameter-fields";
import { checkDraft, type DraftProblems, emptyDraft, type JobDraft, withConfig } from "./job-draft";
import { LudwigEditor } from "./ludwig-editor";
import { QuotePanel } from "./quote-panel";
import { TargetBalance } from "./target-balance";

type JobFormProps = { datasets: DatasetView[]; first: DatasetView; baseModels: BaseModelView[] };

function draftFor(dataset: DatasetView, baseModel: string): JobDraft {
  const draft = emptyDraft(dataset.id, baseModel);
  const { profile } = dataset;
  const template = profile === null ? draft.template : startTemplate(profile, guessKind(profile));
  return { ...draft, repository: toSlug(dataset.name), template };
}

export function JobForm({ datasets, first, baseModels }: JobFormProps) {
  const trpc = useTRPC();
  const router = useRouter();
  const [draft, setDraft] = useState<JobDraft>(() => draftFor(first, baseModels[0]?.id ?? ""));
  const [tab, setTab] = useState("form");
  const [asked, setAsked] = useState(false); // problems of empty fields are shown after the first try
  const [gridDraft, setGridDraft] = useState(emptyGrid);
  const create = useMutation(trpc.jobs.create.mutationOptions({ onSuccess: (job) => router.push(`/jobs/${job.id}`) }));
  const sweep = useMutation(
    trpc.sweeps.create.mutationOptions({ onSuccess: ({ id }) => router.push(`/sweeps/${id}`) }),
  );
  const dataset = datasets.find((item) => item.id === draft.datasetId) ?? first;
  const checked = checkDraft(draft);
  const checkedGrid = checkGrid(gridDraft);
  const grid = checkedGrid.ok ? checkedGrid.grid : null;
  const error = create.error ?? sweep.error;
  const failure = error === null ? null : failureOf(error);
  const problems: DraftProblems = {
    ...(checked.ok ? {} : checked.problems),
    ...(failure?.field ? { [failure.field]: failure.message } : {}),
  };
  const problemOf = (path: string) => problems[path] ?? null;
  const columns = dataset.profile?.columns ?? [];

  const start = () => {
    setAsked(true);
    if (!checked.ok || !checkedGrid.ok) return;
    if (grid === null) create.mutate(checked.input satisfies CreateJobInput);
    else sweep.mutate({ ...checked.input, grid } satisfies CreateSweepInput);
  };
  return (
    <div className="grid items-start gap-6 lg:grid-cols-[minmax(0,1fr)_24rem]">
      <div className="flex min-w-0 flex-col gap-6">
        <Card>
          <CardHeader title="What to train" />
          <CardBody>
            <div className="grid gap-5 sm:grid-cols-2">
              <Field
                label="Data set"
                hint={
                  dataset.profile === null ? undefined : `${plural(dataset.profile.splitRows.train, "training row")}`
                }
              >
                <Select
                  name="datasetId"
                  value={draft.datasetId}
                  onChange={(event) => {
                    const chosen = datasets.find((item) => item.id === event.target.value);
                    if (chosen !== undefined) setDraft(draftFor(chosen, draft.baseModel));
                  }}
                >
                  {datasets.map((item) => (
                    <option key={item.id} value={item.id}>
                      {item.name}
                    </option>
                  ))}
                </Select>
              </Field>
              <Field label="Base model" error={problemOf("config.baseModel")}>
                <Select
                  name="baseModel"
                  value={draft.baseModel}
                  onChange={(event) => setDraft({ ...draft, baseModel: event.target.value })}
                >
                  {baseModels.map((model) => (
                    <option key={model.id} value={model.id}>
                      {model.name}
                    </option>
                  ))}
                </Select>
              </Field>
              <Field
                label="Adapter repository"
                error={problemOf("repository")}
                hint="Made if new; each finished job adds a version."
              >
                <Input
                  name="repository"
                  value={draft.repository}
                  onChange={(event) => setDraft({ ...draft, repository: event.target.value })}
                />
              </Field>
            </div>
          </CardBody>
        </Card>
        <Tabs
          label="Configuration"
          value={tab}
          onChange={setTab}
          tabs={[
            {
              value: "form",
              title: "Form",
              content: (
                <div className="flex flex-col gap-6">
                  <Card>
                    <CardHeader title="Prompt" />
                    <CardBody>
                      {dataset.profile === null ? null : (
                        <TemplateEditor
                          profile={dataset.profile}
                          values={draft.template}
                          errors={{
                            promptTemplate: problemOf("config.promptTemplate"),
                            targetColumn: problemOf("config.targetColumn"),
                            rejectedColumn: problemOf("config.rejectedColumn"),
                          }}
                          onChange={(template) => setDraft({ ...draft, template })}
                        />
                      )}
                    </CardBody>
                  </Card>
                  <HyperparameterFields
                    draft={draft}
                    problemOf={(key) => problemOf(`config.hyperparameters.${key}`)}
                    onChange={setDraft}
                  />
                  <GridFields draft={gridDraft} checked={checkedGrid} onChange={setGridDraft} />
                </div>
              ),
            },
            {
              value: "yaml",
              title: "YAML",
              content: (
                <LudwigEditor
                  datasetId={draft.datasetId}
                  columns={columns.map((column) => column.name)}
                  template={draft.template}
                  baseModel={draft.baseModel}
                  onConfig={(config) => setDraft(withConfig(draft, config))}
                />
              ),
            },
          ]}
        />
      </div>
      <div className="flex min-w-0 flex-col gap-6 lg:sticky lg:top-9">
        <QuotePanel
          checked={checked}
          asked={asked}
          failure={failure}
          grid={grid}
          busy={create.isPending || create.isSuccess || sweep.isPending || sweep.isSuccess}
          onStart={start}
        />
        <Card>
          <CardHeader title="What the model sees" hint="The answer it learns is marked." />
          <CardBody>
            <LiveTemplatePreview input={{ datasetId: draft.datasetId, ...draft.template }} />
          </CardBody>
        </Card>
        {dataset.profile === null ? null : <TargetBalance profile={dataset.profile} template={draft.template} />}
      </div>
    </div>
  );
}
