import type { DatasetProfile, RowConfig } from "@grove/contracts/datasets";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { balanceOf } from "@/features/datasets/class-balance";
import { ClassBalanceView } from "@/features/datasets/class-balance-view";

type TargetBalanceProps = { profile: DatasetProfile; template: Pick<RowConfig, "dataKind" | "targetColumn"> };

/** What the answers to be learnt are, where they are labels. */
export function TargetBalance({ profile, template }: TargetBalanceProps) {
  const column = profile.columns.find(({ name }) => name === template.targetColumn);
  const balance = column === undefined || template.dataKind !== "template" ? null : balanceOf(column, profile.rows);
  if (balance === null) return null;
  return (
    <Card>
      <CardHeader title="Class balance" hint="How often each answer occurs in the data set." />
      <CardBody>
        <ClassBalanceView balance={balance} />
      </CardBody>
    </Card>
  );
}
