"use client";
import type { CreatedToken } from "@grove/contracts/accounts";
import type { AdapterVersionView } from "@grove/contracts/adapters";
import type { BaseModelView } from "@grove/contracts/serving";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { CodeBlock } from "@grove/ui/copy-button";
import { Field, Select } from "@grove/ui/field";
import { Tabs } from "@grove/ui/tabs";
import { skipToken, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { NewTokenForm, ShownOnce } from "@/features/accounts/new-token";
import { useTRPC } from "@/features/shared/trpc";
import { snippets } from "./snippets";

type QuickStartProps = { gatewayUrl: string; tenant: string; models: BaseModelView[]; adapters: AdapterVersionView[] };

export function QuickStart({ gatewayUrl, tenant, models, adapters }: QuickStartProps) {
  const [adapterId, setAdapterId] = useState(adapters[0]?.adapterId ?? "");
  const [language, setLanguage] = useState("curl");
  const [token, setToken] = useState<CreatedToken | null>(null);
  const adapter = adapters.find((item) => item.adapterId === adapterId);
  const prompt = useExamplePrompt(adapter);
  const model = adapter?.baseModel ?? models[0]?.id ?? "";
  const codes = snippets({
    gatewayUrl,
    tenant,
    model,
    adapterId: adapter?.adapterId ?? null,
    prompt,
    token: token?.token ?? "pb_your_token",
  });
  return (
    <Card>
      <CardHeader title="Quick start" hint="Make a token, and the code below runs as pasted." />
      <CardBody>
        <div className="flex flex-col gap-6">
          <ol className="flex flex-col gap-6">
            <li className="flex flex-col gap-3">
              <StepTitle number={1} title="A token of your own" />
              {token === null ? (
                <NewTokenForm suggestedName="Quick start" onCreated={setToken} />
              ) : (
                <ShownOnce token={token} />
              )}
            </li>
            <li className="flex flex-col gap-3">
              <StepTitle number={2} title="Who answers" />
              <div className="max-w-sm">
                <Field label="Model">
                  <Select value={adapterId} onChange={(event) => setAdapterId(event.target.value)}>
                    {adapters.map((item) => (
                      <option key={item.id} value={item.adapterId}>
                        {item.adapterId}
                      </option>
                    ))}
                    <option value="">The base model itself</option>
                  </Select>
                </Field>
              </div>
            </li>
            <li className="flex min-w-0 flex-col gap-3">
              <StepTitle number={3} title="Call it" />
              <Tabs
                label="Language"
                value={language}
                onChange={setLanguage}
                tabs={codes.map((snippet) => ({
                  value: snippet.value,
                  title: snippet.title,
                  content: <CodeBlock label={`${snippet.title} code`} code={snippet.code} />,
                }))}
              />
            </li>
          </ol>
        </div>
      </CardBody>
    </Card>
  );
}

function StepTitle({ number, title }: { number: number; title: string }) {
  return (
    <h3 className="flex items-center gap-2.5 text-sm font-medium">
      <span className="flex size-5 items-center justify-center rounded-full bg-accent-soft text-xs font-semibold text-accent-text tabular-nums">
        {number}
      </span>
      {title}
    </h3>
  );
}

/** A prompt as the adapter was trained on, if its data set is still there. */
function useExamplePrompt(adapter: AdapterVersionView | undefined): string {
  const trpc = useTRPC();
  const input =
    adapter === undefined || adapter.datasetId === null
      ? skipToken
      : {
          datasetId: adapter.datasetId,
          promptTemplate: adapter.config.promptTemplate,
          targetColumn: adapter.config.targetColumn,
          promptFormat: adapter.config.promptFormat,
        };
  const preview = useQuery(trpc.datasets.preview.queryOptions(input, { staleTime: 600_000, retry: false }));
  return preview.data?.examples[0]?.prompt ?? adapter?.config.promptTemplate ?? "The capital of France is";
}
