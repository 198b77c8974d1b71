-- AlterTable
ALTER TABLE "jobs" ADD COLUMN     "metadata" JSONB;
