-- CreateTable
CREATE TABLE "adapter_checkpoints" (
    "id" UUID NOT NULL,
    "repository_id" UUID NOT NULL,
    "job_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "step" INTEGER NOT NULL,
    "sha256" TEXT NOT NULL,
    "bytes" BIGINT NOT NULL,
    "created_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "adapter_checkpoints_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "adapter_checkpoints_job_id_step_idx" ON "adapter_checkpoints"("job_id", "step");

-- CreateIndex
CREATE INDEX "adapter_checkpoints_sha256_idx" ON "adapter_checkpoints"("sha256");

-- CreateIndex
CREATE UNIQUE INDEX "adapter_checkpoints_repository_id_name_key" ON "adapter_checkpoints"("repository_id", "name");

-- AddForeignKey
ALTER TABLE "adapter_checkpoints" ADD CONSTRAINT "adapter_checkpoints_repository_id_fkey" FOREIGN KEY ("repository_id") REFERENCES "repositories"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "adapter_checkpoints" ADD CONSTRAINT "adapter_checkpoints_job_id_fkey" FOREIGN KEY ("job_id") REFERENCES "jobs"("id") ON DELETE CASCADE ON UPDATE CASCADE;


