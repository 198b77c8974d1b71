-- AlterTable
ALTER TABLE "jobs" ADD COLUMN     "paused" BOOLEAN NOT NULL DEFAULT false;


