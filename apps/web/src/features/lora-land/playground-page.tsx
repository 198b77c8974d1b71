"use client";
import type { AdapterVersionView } from "@grove/contracts/adapters";
import { buttonStyles } from "@grove/ui/button";
import { Card, CardBody, CardHeader, Facts } from "@grove/ui/card";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState, LoadingPage } from "@grove/ui/states";
import { Sparkles } from "lucide-react";
import Link from "next/link";
import { useState } from "react";
import { Lift } from "@/features/adapters/lift";
import { bytes, percent } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { TemplateText } from "@/features/shared/template-text";
import { AdapterPicker } from "./adapter-picker";
import { Comparison } from "./comparison";
import { useServedAdapters } from "./use-served-adapters";

export function PlaygroundPage({ adapterId }: { adapterId: string | null }) {
  const adapters = useServedAdapters();
  return (
    <Page>
      <PageHeader
        title="Playground"
        description="One prompt, two answers: your fine-tuned adapter beside the base model it grew on."
      />
      <QueryView
        query={adapters}
        what="your adapters"
        loading={<LoadingPage />}
        isEmpty={(items) => items.length === 0}
        empty={
          <Card>
            <EmptyState
              icon={<Sparkles />}
              title="Nothing to try yet"
              action={
                <Link href="/jobs/new" className={buttonStyles({ variant: "primary" })}>
                  Train an adapter
                </Link>
              }
            >
              As soon as a job has finished, its adapter answers here side by side with its base.
            </EmptyState>
          </Card>
        }
      >
        {(items) => <Land adapters={items} asked={adapterId} />}
      </QueryView>
    </Page>
  );
}

function Land({ adapters, asked }: { adapters: AdapterVersionView[]; asked: string | null }) {
  const [chosen, setChosen] = useState(asked);
  const adapter = adapters.find((item) => item.adapterId === chosen) ?? adapters[0];
  if (adapter === undefined) return null;
  const choose = (adapterId: string) => {
    setChosen(adapterId);
    window.history.replaceState(null, "", `/lora-land?adapter=${encodeURIComponent(adapterId)}`);
  };
  return (
    <div className="grid items-start gap-6 lg:grid-cols-[17rem_minmax(0,1fr)]">
      <div className="flex min-w-0 flex-col gap-6">
        <AdapterPicker adapters={adapters} current={adapter.adapterId} onChoose={choose} />
        <AdapterDetails adapter={adapter} />
      </div>
      <Comparison key={adapter.id} adapter={adapter} />
    </div>
  );
}

function AdapterDetails({ adapter }: { adapter: AdapterVersionView }) {
  return (
    <div className="hidden lg:block">
      <Card>
        <CardHeader title="About this adapter" />
        <Facts
          items={[
            { label: "Base", value: adapter.baseModel },
            { label: "Size", value: bytes(adapter.bytes) },
            { label: "Rank", value: adapter.config.hyperparameters.rank },
            ...(adapter.bestEval === null
              ? []
              : [
                  { label: "Score", value: percent(adapter.bestEval.adapterScore) },
                  { label: "Over base", value: <Lift result={adapter.bestEval} /> },
                ]),
          ]}
        />
        <div className="border-t border-line">
          <CardBody>
            <p className="pb-2 text-[13px] text-muted">Prompt template</p>
            <TemplateText template={adapter.config.promptTemplate} />
          </CardBody>
        </div>
      </Card>
    </div>
  );
}
