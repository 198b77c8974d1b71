"use client";
import type { AdapterVersionView } from "@grove/contracts/adapters";
import { Card } from "@grove/ui/card";
import { Field, Input, Select } from "@grove/ui/field";
import { useState } from "react";
import { Lift } from "@/features/adapters/lift";

type AdapterPickerProps = { adapters: AdapterVersionView[]; current: string; onChoose: (adapterId: string) => void };

/** A list to look through on a wide screen, a menu on a narrow one. */
export function AdapterPicker({ adapters, current, onChoose }: AdapterPickerProps) {
  const [filter, setFilter] = useState("");
  const shown = adapters.filter((item) =>
    `${item.adapterId} ${item.baseModel}`.toLowerCase().includes(filter.trim().toLowerCase()),
  );
  return (
    <>
      <div className="lg:hidden">
        <Field label="Adapter">
          <Select value={current} onChange={(event) => onChoose(event.target.value)}>
            {adapters.map((item) => (
              <option key={item.id} value={item.adapterId}>
                {item.adapterId}
              </option>
            ))}
          </Select>
        </Field>
      </div>
      <div className="hidden lg:block">
        <Card>
          {adapters.length > 6 ? (
            <div className="border-b border-line p-3">
              <Input
                type="search"
                aria-label="Filter adapters"
                placeholder="Filter adapters"
                value={filter}
                onChange={(event) => setFilter(event.target.value)}
              />
            </div>
          ) : null}
          <ul aria-label="Adapters" className="max-h-80 divide-y divide-line overflow-y-auto">
            {shown.map((item) => (
              <li key={item.id}>
                <button
                  type="button"
                  aria-current={item.adapterId === current ? "true" : undefined}
                  onClick={() => onChoose(item.adapterId)}
                  className={`flex w-full cursor-pointer items-baseline justify-between gap-3 px-4 py-2.5 text-left text-sm outline-none focus-visible:ring-2 focus-visible:ring-accent/60 focus-visible:ring-inset ${item.adapterId === current ? "bg-accent-soft font-medium text-accent-text" : "hover:bg-sunken"}`}
                >
                  <span className="truncate">{item.adapterId}</span>
                  <span className="shrink-0 text-xs">
                    {item.bestEval === null ? null : <Lift result={item.bestEval} />}
                  </span>
                </button>
              </li>
            ))}
            {shown.length === 0 ? (
              <li className="px-4 py-6 text-center text-sm text-muted">No adapter has that in its name.</li>
            ) : null}
          </ul>
        </Card>
      </div>
    </>
  );
}
