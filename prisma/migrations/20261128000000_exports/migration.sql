-- AlterTable
ALTER TABLE "adapter_versions" ADD COLUMN     "origin" JSONB,
ALTER COLUMN "job_id" DROP NOT NULL,
ALTER COLUMN "train_loss" DROP NOT NULL;

-- CreateTable
CREATE TABLE "adapter_exports" (
    "id" UUID NOT NULL,
    "org_id" UUID NOT NULL,
    "version_id" UUID NOT NULL,
    "kind" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "bytes" BIGINT,
    "message" TEXT,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "finished_at" TIMESTAMP(3),

    CONSTRAINT "adapter_exports_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "adapter_transfers" (
    "id" UUID NOT NULL,
    "org_id" UUID NOT NULL,
    "version_id" UUID,
    "kind" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "request" JSONB NOT NULL,
    "sealed_token" BYTEA,
    "result" JSONB,
    "message" TEXT,
    "idempotency_key" TEXT,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "finished_at" TIMESTAMP(3),

    CONSTRAINT "adapter_transfers_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "adapter_exports_status_idx" ON "adapter_exports"("status");

-- CreateIndex
CREATE UNIQUE INDEX "adapter_exports_version_id_kind_key" ON "adapter_exports"("version_id", "kind");

-- CreateIndex
CREATE INDEX "adapter_transfers_org_id_created_at_idx" ON "adapter_transfers"("org_id", "created_at");

-- CreateIndex
CREATE INDEX "adapter_transfers_status_idx" ON "adapter_transfers"("status");

-- CreateIndex
CREATE UNIQUE INDEX "adapter_transfers_org_id_idempotency_key_key" ON "adapter_transfers"("org_id", "idempotency_key");

-- AddForeignKey
ALTER TABLE "adapter_exports" ADD CONSTRAINT "adapter_exports_org_id_fkey" FOREIGN KEY ("org_id") REFERENCES "organisations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "adapter_exports" ADD CONSTRAINT "adapter_exports_version_id_fkey" FOREIGN KEY ("version_id") REFERENCES "adapter_versions"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "adapter_transfers" ADD CONSTRAINT "adapter_transfers_org_id_fkey" FOREIGN KEY ("org_id") REFERENCES "organisations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "adapter_transfers" ADD CONSTRAINT "adapter_transfers_version_id_fkey" FOREIGN KEY ("version_id") REFERENCES "adapter_versions"("id") ON DELETE CASCADE ON UPDATE CASCADE;

