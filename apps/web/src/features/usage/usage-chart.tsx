"use client";
import type { UsageRow } from "@grove/contracts/usage";
import { Bar, BarChart, CartesianGrid, Legend, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";
import { money } from "@/features/shared/format";
import { chartData } from "./usage-days";

const palette = ["var(--accent)", "var(--chart-2)", "var(--info)", "#9b6bd3", "#c9a227", "var(--faint)"];
const axis = { stroke: "var(--faint)", fontSize: 12, tickLine: false, axisLine: false } as const;
const dayName = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

function dollars(value: number): string {
  return money(BigInt(Math.round(value * 1_000_000)));
}

export function UsageChart({ rows, days }: { rows: UsageRow[]; days: number }) {
  const data = chartData(rows, days, new Date());
  return (
    <div className="h-72 w-full px-3 py-4" role="img" aria-label="Cost by day and adapter">
      <ResponsiveContainer width="100%" height="100%">
        <BarChart data={data.days} margin={{ top: 8, right: 12, bottom: 0, left: 0 }}>
          <CartesianGrid stroke="var(--line)" vertical={false} />
          <XAxis
            dataKey="day"
            tickFormatter={(day: string) => dayName.format(new Date(day))}
            minTickGap={24}
            {...axis}
          />
          <YAxis width={72} tickFormatter={dollars} {...axis} />
          <Tooltip
            cursor={{ fill: "var(--sunken)" }}
            contentStyle={{
              background: "var(--surface)",
              border: "1px solid var(--line-strong)",
              borderRadius: 8,
              fontSize: 13,
              color: "var(--ink)",
            }}
            formatter={(value) => (typeof value === "number" ? dollars(value) : value)}
          />
          <Legend iconType="circle" iconSize={8} wrapperStyle={{ fontSize: 12 }} />
          {data.series.map((name, index) => (
            <Bar
              key={name}
              name={name}
              dataKey={(bar) => bar[name]}
              stackId="cost"
              fill={palette[index % palette.length]}
              maxBarSize={36}
              isAnimationActive={false}
            />
          ))}
        </BarChart>
      </ResponsiveContainer>
    </div>
  );
}
