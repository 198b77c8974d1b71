-- AlterTable
ALTER TABLE "adapter_checkpoints" ADD COLUMN     "metric" TEXT,
ADD COLUMN     "score" DOUBLE PRECISION;


