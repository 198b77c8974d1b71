-- AlterTable
ALTER TABLE "jobs" ADD COLUMN     "sweep_id" UUID;

-- CreateTable
CREATE TABLE "sweeps" (
    "id" UUID NOT NULL,
    "org_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "grid" JSONB NOT NULL,
    "idempotency_key" TEXT,
    "input_hash" TEXT NOT NULL,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "sweeps_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "sweeps_org_id_idempotency_key_key" ON "sweeps"("org_id", "idempotency_key");

-- CreateIndex
CREATE INDEX "jobs_sweep_id_idx" ON "jobs"("sweep_id");

-- AddForeignKey
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_sweep_id_fkey" FOREIGN KEY ("sweep_id") REFERENCES "sweeps"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "sweeps" ADD CONSTRAINT "sweeps_org_id_fkey" FOREIGN KEY ("org_id") REFERENCES "organisations"("id") ON DELETE CASCADE ON UPDATE CASCADE;


